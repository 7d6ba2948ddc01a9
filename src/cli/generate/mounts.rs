//! Which folders hold the files that a configuration names: a container gets files by the folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::config::needs::Needs;

/// Where the configuration has its folders.
const HOME: &str = "/etc/gatehouse";
/// The folder of the configuration itself.
const CONFIG: &str = "/etc/gatehouse/config";

/// Volumes and secrets that are there for something else.
const TAKEN: [&str; 3] = ["config", "environment", "kubernetes-token"];
/// The longest name of a volume, in characters.
const VOLUME_CHARS_MAX: usize = 63;

/// A folder of files.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) folder: PathBuf,
    /// What the folder is called, in letters that names of objects may have.
    pub(super) volume: String,
    /// The files that are named one by one; a directory of authorities may hold any.
    pub(super) keys: BTreeSet<String>,
}

/// The folders of all files, or why there is none for one of them.
pub(super) fn of(needs: &Needs) -> Result<Vec<Mount>, String> {
    let mut folders: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    for path in &needs.files {
        let key = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        folders.entry(folder).or_default().extend(key);
    }
    for path in &needs.directories {
        folders.entry(path.components().collect()).or_default();
    }
    for folder in folders.keys() {
        let shown = folder.display();
        let inside = folders.keys().find(|other| *other != folder && other.starts_with(folder));
        if !folder.is_absolute() || Path::new(CONFIG).starts_with(folder) || folder.starts_with(CONFIG) {
            return Err(format!(
                "files are mounted by the folder, and `{shown}` cannot be one of them: put them into a folder of their \
                 own, such as `{HOME}/tls`"
            ));
        }
        if let Some(inside) = inside {
            return Err(format!(
                "`{}` lies in `{shown}`, and both would be mounted: put one beside the other",
                inside.display()
            ));
        }
    }
    let mut taken: BTreeSet<String> = TAKEN.map(str::to_owned).into();
    let mount = |(folder, keys): (PathBuf, _)| {
        let volume = volume(&folder);
        if volume.is_empty() || volume.len() > VOLUME_CHARS_MAX || !taken.insert(volume.clone()) {
            return Err(format!(
                "the volume of `{}` would be called `{volume}`, which is taken or cannot be: call the folder something \
                 else",
                folder.display()
            ));
        }
        Ok(Mount { volume, folder, keys })
    };
    folders.into_iter().map(mount).collect()
}

fn volume(folder: &Path) -> String {
    let path = folder.strip_prefix(HOME).unwrap_or(folder).to_string_lossy().to_ascii_lowercase();
    let letters: String = path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    letters.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts(files: &[&str], directories: &[&str]) -> Result<Vec<Mount>, String> {
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
        of(&Needs { files: paths(files), directories: paths(directories), ..Needs::default() })
    }

    #[test]
    fn files_of_a_folder_are_one_mount() {
        let found = mounts(
            &["/etc/gatehouse/tls/tls.crt", "/etc/gatehouse/tls/tls.key", "/run/secrets/password"],
            &["/etc/gatehouse/brokers-ca/"],
        );
        let found = found.unwrap();
        let names: Vec<_> = found.iter().map(|mount| mount.volume.as_str()).collect();
        assert_eq!(names, ["brokers-ca", "tls", "run-secrets"]);
        assert!(found[0].keys.is_empty());
        assert_eq!(found[1].keys.len(), 2);
        assert_eq!(found[2].folder, Path::new("/run/secrets"));
    }

    #[test]
    fn what_cannot_be_mounted_is_refused() {
        for wrong in [
            "tls.crt",
            "tls/tls.crt",
            "/tls.crt",
            "/etc/ca.crt",
            "/etc/gatehouse/ca.crt",
            "/etc/gatehouse/config/a.crt",
            "/etc/gatehouse/config/tls/a.crt",
        ] {
            assert!(mounts(&[wrong], &[]).unwrap_err().contains("folder of their own"), "{wrong}");
        }
        let inside = mounts(&["/a/tls/x.crt", "/a/tls/clients/ca.crt"], &[]).unwrap_err();
        assert!(inside.contains("`/a/tls/clients` lies in `/a/tls`"), "{inside}");
        let long = format!("/{}/ca.crt", "a".repeat(64));
        for wrong in [&["/config/a.crt"][..], &["/é/a.crt"], &[&long], &["/a/tls/a.crt", "/a-tls/a.crt"]] {
            assert!(mounts(wrong, &[]).unwrap_err().contains("is taken or cannot be"), "{wrong:?}");
        }
    }
}
