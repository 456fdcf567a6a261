//! What a switchover shows beside the task's role.

/// What a switchover waits for, or has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SwitchoverView {
    /// What it waits for.
    pub waiting_for: Option<String>,
    /// Why the last one, since the server started, has ended without a change.
    pub outcome: Option<String>,
}
