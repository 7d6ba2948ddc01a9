//! A mounted Secret or ConfigMap, as a kubelet keeps it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use crate::Result;

/// What a Secret or ConfigMap holds: the contents of each file.
pub(crate) type Contents = BTreeMap<String, Vec<u8>>;

/// Files that are links through `..data` to the newest of several directories.
pub(crate) struct Folder {
    directory: PathBuf,
    versions: u32,
}

impl Folder {
    /// An empty one.
    pub(crate) fn new(directory: PathBuf) -> Result<Self> {
        fs::create_dir_all(&directory)?;
        Ok(Self { directory, versions: 0 })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.directory
    }

    /// Makes a new directory with those files and moves `..data` there in one step; then links to new files come, and
    /// those to files that are no more go, with the old directory.
    pub(crate) fn put(&mut self, contents: &Contents) -> Result<()> {
        self.versions += 1;
        let version = format!("..version-{}", self.versions);
        let place = self.directory.join(&version);
        fs::create_dir(&place)?;
        contents.iter().try_for_each(|(name, bytes)| fs::write(place.join(name), bytes))?;
        let (link, data) = (self.directory.join("..data_tmp"), self.directory.join("..data"));
        symlink(&version, &link)?;
        let old = fs::read_link(&data).ok();
        fs::rename(link, data)?;
        for name in contents.keys().filter(|name| self.directory.join(name).symlink_metadata().is_err()) {
            symlink(Path::new("..data").join(name), self.directory.join(name))?;
        }
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if !name.starts_with("..") && !contents.contains_key(&name) {
                fs::remove_file(self.directory.join(name))?;
            }
        }
        if let Some(old) = old {
            fs::remove_dir_all(self.directory.join(old))?;
        }
        Ok(())
    }
}
