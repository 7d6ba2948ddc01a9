//! Files read together, so that what is checked is one state of the disk and not two.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{self, Context, Digest};
use rustls::pki_types::pem;
use zeroize::Zeroizing;

/// The largest certificate, key or password file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// The largest file of revocation lists, in bytes.
const CRL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The most files of one directory that count.
const DIRECTORY_FILES_MAX: usize = 1024;
/// How often all files are read to find two readings that agree.
const READINGS_MAX: usize = 4;

/// Why a file gives nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system does not hand it out.
    #[error("`{}` cannot be read", .0.display())]
    Read(PathBuf, #[source] Arc<io::Error>),
    /// It is larger than any of its kind.
    #[error("`{}` has more than {bytes_max} bytes", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The limit.
        bytes_max: u64,
    },
    /// It is neither a file nor, where one may be, a directory.
    #[error("`{}` is not a file", .0.display())]
    NotAFile(PathBuf),
    /// A directory holds nothing that counts.
    #[error("the directory `{}` holds no {wanted} file", directory.display())]
    EmptyDirectory {
        /// The directory.
        directory: PathBuf,
        /// The names that count.
        wanted: &'static str,
    },
    /// A directory holds more than anybody would put there.
    #[error("the directory `{}` holds more than {DIRECTORY_FILES_MAX} files", .0.display())]
    CrowdedDirectory(PathBuf),
    /// The files change faster than they can be read.
    #[error("`{}` changes while it is read", .0.display())]
    Restless(PathBuf),
}

/// A path, and what is expected there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wanted {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// One file: a certificate, a key, a password, a key store.
    Single,
    /// Authorities: a file, or a directory of which every `*.crt` and `*.pem` counts.
    Authorities,
    /// Revocation lists: a file, or a directory of which every `*.crl` and `*.pem` counts.
    RevocationLists,
}

impl Kind {
    fn bytes_max(self) -> u64 {
        match self {
            Self::Single | Self::Authorities => FILE_BYTES_MAX,
            Self::RevocationLists => CRL_BYTES_MAX,
        }
    }

    fn counts(self, file: &Path) -> bool {
        let extension = file.extension().and_then(|extension| extension.to_str());
        match self {
            Self::Single => true,
            Self::Authorities => matches!(extension, Some("crt" | "pem")),
            Self::RevocationLists => matches!(extension, Some("crl" | "pem")),
        }
    }

    fn extensions(self) -> &'static str {
        match self {
            Self::Single => "*",
            Self::Authorities => "*.crt or *.pem",
            Self::RevocationLists => "*.crl or *.pem",
        }
    }
}

/// One state of all files that were wanted.
pub(super) struct Snapshot {
    files: BTreeMap<PathBuf, Result<Content, Error>>,
    /// The files of each directory that was wanted, in the order of their names.
    directories: BTreeMap<PathBuf, Result<Vec<PathBuf>, Error>>,
}

struct Content {
    bytes: Zeroizing<Vec<u8>>,
    mode: u32,
    owner: u32,
}

impl Snapshot {
    /// Reads all files until two readings in a row agree. Mounted secrets are swapped by one symbolic link: a
    /// reading across the swap would pair an old certificate with a new key.
    ///
    /// A file that cannot be read is an error only for who asks for it.
    pub(super) fn take(wanted: &BTreeSet<Wanted>) -> Self {
        let mut last = Self::read(wanted);
        for _ in 1..READINGS_MAX {
            let next = Self::read(wanted);
            if next.digest().as_ref() == last.digest().as_ref() {
                return next;
            }
            last = next;
        }
        for (path, content) in &mut last.files {
            *content = Err(Error::Restless(path.clone()));
        }
        last
    }

    /// Reads all files once.
    pub(super) fn read(wanted: &BTreeSet<Wanted>) -> Self {
        let (mut files, mut directories) = (BTreeMap::new(), BTreeMap::new());
        for Wanted { path, kind } in wanted {
            if *kind != Kind::Single && path.is_dir() {
                let found = list(path, *kind);
                for file in found.iter().flatten() {
                    files.insert(file.clone(), read(file, kind.bytes_max()));
                }
                directories.insert(path.clone(), found);
            } else {
                files.insert(path.clone(), read(path, kind.bytes_max()));
            }
        }
        Self { files, directories }
    }

    /// What the files hold and who may read them, as one number.
    pub(super) fn digest(&self) -> Digest {
        let mut sum = Context::new(&digest::SHA256);
        let mut add = |bytes: &[u8]| {
            sum.update(&bytes.len().to_be_bytes());
            sum.update(bytes);
        };
        for (path, content) in &self.files {
            add(path.as_os_str().as_encoded_bytes());
            match content {
                Ok(content) => {
                    add(&content.mode.to_be_bytes());
                    add(&content.bytes);
                }
                Err(error) => add(error.to_string().as_bytes()),
            }
        }
        for (path, found) in &self.directories {
            add(path.as_os_str().as_encoded_bytes());
            add(&found.as_ref().map_or(0, Vec::len).to_be_bytes());
        }
        sum.finish()
    }

    /// What a file holds.
    pub(super) fn bytes(&self, file: &Path) -> Result<&[u8], Error> {
        self.content(file).map(|content| content.bytes.as_slice())
    }

    /// The permissions of a file, such as 0o644, where too many may use it.
    pub(super) fn open_to_others(&self, file: &Path) -> Result<Option<u32>, Error> {
        self.content(file).map(|content| open_to_others(content.mode, content.owner).then_some(content.mode))
    }

    /// The files that a path stands for: itself, or those of a directory.
    pub(super) fn files<'a>(&'a self, path: &'a Path) -> Result<Vec<&'a Path>, Error> {
        match self.directories.get(path) {
            None => Ok(vec![path]),
            Some(Ok(files)) => Ok(files.iter().map(PathBuf::as_path).collect()),
            Some(Err(error)) => Err(error.clone()),
        }
    }

    fn content(&self, file: &Path) -> Result<&Content, Error> {
        match self.files.get(file) {
            Some(Ok(content)) => Ok(content),
            Some(Err(error)) => Err(error.clone()),
            None => Err(Error::NotAFile(file.to_path_buf())),
        }
    }
}

/// What is wrong with a file in PEM. The library prints the bytes of the line.
pub(super) fn pem_fault(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a part has no `-----END` line",
        pem::Error::IllegalSectionStart { .. } => "a `-----BEGIN` line is damaged",
        pem::Error::Base64Decode(_) => "a part is not base64",
        _ => "it is not PEM",
    }
}

fn read(path: &Path, bytes_max: u64) -> Result<Content, Error> {
    let refused = |error: io::Error| Error::Read(path.to_path_buf(), Arc::new(error));
    // Before it is opened: to open a pipe is to wait for its other end.
    if !fs::metadata(path).map_err(refused)?.is_file() {
        return Err(Error::NotAFile(path.to_path_buf()));
    }
    let file = File::open(path).map_err(refused)?;
    let metadata = file.metadata().map_err(refused)?;
    // Room for all of it at once: a key that moves while the buffer grows leaves copies behind.
    let room = usize::try_from(metadata.len().min(bytes_max)).unwrap_or(0) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(refused)?;
    if bytes.len() as u64 > bytes_max {
        return Err(Error::TooLarge { file: path.to_path_buf(), bytes_max });
    }
    Ok(Content { bytes, mode: metadata.permissions().mode() & 0o777, owner: metadata.uid() })
}

/// Whether more than the owner may use a file. Where that is root, its group may read it: only so a process that is
/// not root gets at a secret that Kubernetes mounts.
fn open_to_others(mode: u32, owner: u32) -> bool {
    mode & if owner == 0 { 0o037 } else { 0o077 } != 0
}

/// The files of a directory that count, by name. What begins with a dot is bookkeeping, as `..data` is.
fn list(directory: &Path, kind: Kind) -> Result<Vec<PathBuf>, Error> {
    let refused = |error: io::Error| Error::Read(directory.to_path_buf(), Arc::new(error));
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(refused)? {
        let path = entry.map_err(refused)?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || !kind.counts(&path) {
            continue;
        }
        if found.len() == DIRECTORY_FILES_MAX {
            return Err(Error::CrowdedDirectory(directory.to_path_buf()));
        }
        found.push(path);
    }
    if found.is_empty() {
        return Err(Error::EmptyDirectory { directory: directory.to_path_buf(), wanted: kind.extensions() });
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::tls::testing::Folder;

    fn wanted(paths: &[(&Path, Kind)]) -> BTreeSet<Wanted> {
        paths.iter().map(|&(path, kind)| Wanted { path: path.to_path_buf(), kind }).collect()
    }

    fn digest(wanted: &BTreeSet<Wanted>) -> Vec<u8> {
        Snapshot::take(wanted).digest().as_ref().to_vec()
    }

    #[test]
    fn the_group_may_read_what_is_roots() {
        assert!(!open_to_others(0o440, 0) && !open_to_others(0o640, 0) && !open_to_others(0o600, 1000));
        assert!(open_to_others(0o444, 0) && open_to_others(0o660, 0) && open_to_others(0o640, 1000));
    }

    #[test]
    fn a_swapped_link_is_a_new_state_of_all_files_behind_it() {
        let folder = Folder::new();
        folder.put("..1/tls.crt", "old certificate");
        folder.put("..1/tls.key", "old key");
        folder.put("..2/tls.crt", "new certificate");
        folder.put("..2/tls.key", "new key");
        symlink("..1", folder.path("..data")).unwrap();
        symlink("..data/tls.crt", folder.path("tls.crt")).unwrap();
        symlink("..data/tls.key", folder.path("tls.key")).unwrap();
        let (cert, key) = (folder.path("tls.crt"), folder.path("tls.key"));
        let wanted = wanted(&[(&cert, Kind::Single), (&key, Kind::Single)]);
        let before = digest(&wanted);
        assert_eq!(digest(&wanted), before);

        symlink("..2", folder.path("..new")).unwrap();
        fs::rename(folder.path("..new"), folder.path("..data")).unwrap();
        let snapshot = Snapshot::take(&wanted);
        assert_eq!(snapshot.bytes(&cert).unwrap(), b"new certificate");
        assert_eq!(snapshot.bytes(&key).unwrap(), b"new key");
        assert_ne!(snapshot.digest().as_ref(), before);
    }

    /// Each state is there once, so that two readings of the same mixture cannot be.
    #[test]
    fn no_reading_mixes_two_states() {
        const STATES: usize = 100;
        let folder = Folder::new();
        for state in 0..=STATES {
            for file in ["a", "b", "c"] {
                folder.put(&format!("..{state}/{file}"), state.to_string());
            }
        }
        symlink("..0", folder.path("..data")).unwrap();
        let files = ["a", "b", "c"].map(|file| folder.path("..data").join(file));
        let wanted =
            wanted(&[(&files[0], Kind::Single), (&files[1], Kind::Single), (&files[2], Kind::Single)]);
        std::thread::scope(|scope| {
            let swaps = scope.spawn(|| {
                for state in 1..=STATES {
                    symlink(format!("..{state}"), folder.path("..next")).unwrap();
                    fs::rename(folder.path("..next"), folder.path("..data")).unwrap();
                }
            });
            loop {
                let done = swaps.is_finished();
                let snapshot = Snapshot::take(&wanted);
                let read: BTreeSet<&[u8]> =
                    files.iter().filter_map(|file| snapshot.bytes(file).ok()).collect();
                assert!(read.len() <= 1, "{read:?}");
                if done {
                    assert_eq!(snapshot.bytes(&files[0]).unwrap(), STATES.to_string().as_bytes());
                    break;
                }
            }
        });
    }

    #[test]
    fn a_directory_stands_for_the_files_that_count() {
        let folder = Folder::new();
        for file in ["b.pem", "a.crt", "notes.txt", ".hidden.crt", "list.crl"] {
            folder.put(file, file);
        }
        let path = folder.path("");
        let snapshot = Snapshot::take(&wanted(&[(&path, Kind::Authorities)]));
        let files = snapshot.files(&path).unwrap();
        assert_eq!(files, [folder.path("a.crt"), folder.path("b.pem")]);
        assert_eq!(snapshot.bytes(files[0]).unwrap(), b"a.crt");
        let snapshot = Snapshot::take(&wanted(&[(&path, Kind::RevocationLists)]));
        assert_eq!(snapshot.files(&path).unwrap(), [folder.path("b.pem"), folder.path("list.crl")]);

        let empty = folder.path("empty");
        fs::create_dir(&empty).unwrap();
        let error = Snapshot::take(&wanted(&[(&empty, Kind::Authorities)])).files(&empty).unwrap_err();
        assert!(error.to_string().ends_with("holds no *.crt or *.pem file"), "{error}");
    }

    #[test]
    fn what_is_no_file_or_too_large_is_refused_by_name() {
        let folder = Folder::new();
        let reading =
            |path: &Path| Snapshot::take(&wanted(&[(path, Kind::Single)])).bytes(path).map(drop).unwrap_err();
        assert!(matches!(reading(&folder.path("missing")), Error::Read(..)));
        assert!(matches!(reading(&folder.path("")), Error::NotAFile(_)));
        assert!(matches!(reading(Path::new("/dev/zero")), Error::NotAFile(_)));
        let large = folder.put("large", "x".repeat(1024 * 1024 + 1));
        let error = reading(&large);
        assert!(error.to_string().contains("large") && matches!(error, Error::TooLarge { .. }), "{error}");
    }
}
