/*!
Every step that changes the disk goes through here: one place to let each of them fail in a test
([`failpoint`]), so that a step that is added later is covered without being named.

A name is on the disk for good only after its folder was synced; [`create_folders`] therefore syncs what it adds to.
*/

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::failpoint::{self, FileStep};

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct DiskFile {
    file: File,
    #[cfg(test)]
    path: std::path::PathBuf,
}

impl DiskFile {
    /// Opens a file, as `options` say.
    pub(crate) fn open(path: &Path, options: &OpenOptions) -> io::Result<DiskFile> {
        failpoint::file(FileStep::Open(path))?;
        Ok(DiskFile {
            file: options.open(path)?,
            #[cfg(test)]
            path: path.to_owned(),
        })
    }

    /// Length in bytes.
    pub(crate) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Cuts the file off behind `length` bytes.
    pub(crate) fn set_length(&self, length: u64) -> io::Result<()> {
        #[cfg(test)]
        failpoint::file(FileStep::SetLength(&self.path))?;
        self.file.set_len(length)
    }

    /// The content outlives a power failure from here on.
    pub(crate) fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        failpoint::file(FileStep::Sync(&self.path))?;
        bring_to_disk(&self.file)
    }

    /// For what is no change: a lock.
    pub(crate) fn into_file(self) -> File {
        self.file
    }
}

impl Write for DiskFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(test)]
        let bytes = &bytes[..failpoint::on_write(&self.path, bytes.len())?];
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for DiskFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Makes a folder and those above it that are missing.
pub(crate) fn create_folders(path: &Path) -> io::Result<()> {
    create_with(&DirBuilder::new(), path)
}

/// The same, for the owner only.
pub(crate) fn create_private_folders(path: &Path) -> io::Result<()> {
    create_with(DirBuilder::new().mode(0o700), path)
}

fn create_with(builder: &DirBuilder, path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_with(builder, parent)?;
    }
    failpoint::file(FileStep::CreateFolder(path))?;
    match builder.create(path) {
        // Somebody else was quicker.
        Err(_) if path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_folder_of(path),
    }
}

/// Gives a file or folder another name, which outlives a power failure.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    failpoint::file(FileStep::Rename { from, to })?;
    fs::rename(from, to)?;
    sync_folder_of(to)
}

/// Removes a file. After a power failure it may be there again.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    failpoint::file(FileStep::Remove(path))?;
    fs::remove_file(path)
}

/// Removes a folder with all that is in it. After a power failure any part of it may be there again.
pub(crate) fn remove_folder(path: &Path) -> io::Result<()> {
    failpoint::file(FileStep::RemoveFolder(path))?;
    fs::remove_dir_all(path)
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    failpoint::file(FileStep::SyncFolder(folder))?;
    bring_to_disk(&File::open(folder)?)
}

fn bring_to_disk(file: &File) -> io::Result<()> {
    // Where a test decides what a power failure takes, nothing has to outlive one.
    #[cfg(test)]
    if failpoint::are_installed() {
        return Ok(());
    }
    file.sync_all()
}
