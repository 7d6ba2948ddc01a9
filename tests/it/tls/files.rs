//! A directory that a test writes its certificates into, and the ways in which files change.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A directory that is removed at the end.
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("gatehouse-it-{}-{number}", std::process::id()));
        // What a killed run with this process id left behind.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Puts a whole file in place of what was there, as careful programs do.
    pub(crate) fn put(&self, name: &str, text: &str) -> PathBuf {
        let (path, next) = (self.path(name), self.path(&format!("{name}.next")));
        write(&next, text);
        fs::rename(&next, &path).expect("renamed");
        path
    }

    /// Writes over the file itself, as careless ones do.
    pub(crate) fn put_in_place(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).expect("removed");
    }

    /// Puts files the way a mounted secret has them: `name/..data` leads to a directory with all of them, and
    /// is put elsewhere at once.
    pub(crate) fn mount(&self, name: &str, version: u32, files: &[(&str, &str)]) {
        let mount = self.path(name);
        let real = mount.join(format!("..version_{version}"));
        fs::create_dir_all(&real).expect("a directory");
        for (file, text) in files {
            write(&real.join(file), text);
            let shown = mount.join(file);
            if shown.symlink_metadata().is_err() {
                symlink(Path::new("..data").join(file), shown).expect("a link");
            }
        }
        let next = mount.join("..data_next");
        symlink(real.file_name().expect("a name"), &next).expect("a link");
        fs::rename(next, mount.join("..data")).expect("renamed");
        if let Some(old) = version.checked_sub(1) {
            let _ = fs::remove_dir_all(mount.join(format!("..version_{old}")));
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Nobody else may read it: there is a warning for that.
fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("a mode");
}
