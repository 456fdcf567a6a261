/*!
Starts every thread of the process with a name and the task that it works for.

The log reads the task from here ([`current_task`]) rather than from the thread's name, which also holds numbers and
addresses. A helper takes over the task of whoever starts it, so that a log line names the task however deep below the
task's own thread it was written.
*/

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crate::failpoint::FaultScope;

thread_local! {
    static TASK: RefCell<Option<Arc<str>>> = const { RefCell::new(None) };
}

/// A thread before it starts: its name, whom it works for, and its stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadSpec {
    name: String,
    task: Option<Arc<str>>,
    /// In bytes; `None`: as the system has it.
    stack_size: Option<usize>,
}

impl ThreadSpec {
    /// A thread of the server as a whole; its log lines name no task.
    pub fn of_server(name: impl Into<String>) -> ThreadSpec {
        ThreadSpec { name: name.into(), task: None, stack_size: None }
    }

    /// The only thread of this role in a task: `<role>-<task>`.
    pub fn of_task(role: &str, task: &str) -> ThreadSpec {
        ThreadSpec { name: format!("{role}-{task}"), task: Some(task.into()), stack_size: None }
    }

    /// One of several threads of this role in a task: `<role>-<task>-<number>`.
    pub fn worker(role: &str, task: &str, number: usize) -> ThreadSpec {
        ThreadSpec { name: format!("{role}-{task}-{number}"), task: Some(task.into()), stack_size: None }
    }

    /// A thread that works for whatever task the calling thread works for, if any.
    pub fn helper(name: impl Into<String>) -> ThreadSpec {
        ThreadSpec { name: name.into(), task: current_task(), stack_size: None }
    }

    /// The same with a stack of so many bytes.
    #[must_use]
    pub fn with_stack(self, bytes: usize) -> ThreadSpec {
        ThreadSpec { stack_size: Some(bytes), ..self }
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub fn spawn<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
        let ThreadSpec { name, task, stack_size } = self;
        let builder = Builder::new().name(name);
        let builder = match stack_size {
            Some(bytes) => builder.stack_size(bytes),
            None => builder,
        };
        let faults = FaultScope::of_this_thread();
        builder.spawn(move || {
            TASK.set(task);
            faults.enter();
            work()
        })
    }
}

/// The task that the calling thread works for.
pub fn current_task() -> Option<Arc<str>> {
    // While a thread ends, its values may be gone already; a line logged then names no task.
    TASK.try_with(|task| task.borrow().clone()).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name and task as the thread itself sees them.
    fn seen() -> (String, Option<String>) {
        let name = std::thread::current().name().unwrap().to_owned();
        (name, current_task().map(|task| task.to_string()))
    }

    #[test]
    fn each_thread_knows_its_name_and_its_task() {
        let one = || Some("one-2".to_owned());
        for (spec, name, task) in [
            (ThreadSpec::of_server("task-manager"), "task-manager", None),
            (ThreadSpec::of_server("http-5").with_stack(512 << 10), "http-5", None),
            (ThreadSpec::of_task("catalog", "one-2"), "catalog-one-2", one()),
            (ThreadSpec::worker("copy", "one-2", 1), "copy-one-2-1", one()),
        ] {
            assert_eq!(spec.spawn(seen).unwrap().join().unwrap(), (name.to_owned(), task));
        }
    }

    #[test]
    fn a_helper_works_for_the_task_of_its_caller() {
        let helper = || ThreadSpec::helper("copy-ahead").spawn(seen).unwrap().join().unwrap();
        let of_task = ThreadSpec::worker("copy", "one", 0).spawn(helper).unwrap().join().unwrap();
        assert_eq!(of_task, ("copy-ahead".to_owned(), Some("one".to_owned())));
        let of_server = ThreadSpec::of_server("main").spawn(helper).unwrap().join().unwrap();
        assert_eq!(of_server, ("copy-ahead".to_owned(), None));
    }
}
