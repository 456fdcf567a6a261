/*!
What must outlive the process, in files.
*/

pub mod atomic;
