/*!
Files that survive a crash: replaced as a whole (`atomic_file`), with a checksum (`sealed_file`), in a folder that one
server owns (`data_dir`), and the folders of tasks in it (`task_folder`). Every step that changes the disk goes through
`disk`.
*/

pub mod atomic_file;
mod data_dir;
pub(crate) mod disk;
pub mod sealed_file;
pub(crate) mod task_folder;

pub use self::data_dir::{DataDir, DataDirError};
