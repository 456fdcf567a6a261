/*!
A blocking client of Pulsar's binary protocol, with what a reader needs and no more.

It knows nothing of Milvus and nothing of logs: topics are names, positions are [`EntryId`]s, and whoever wants to be
woken passes a function. It could become a crate; `proto` is the only file that knows where the generated code lives.

From the bytes up: `transport` (TCP and TLS), `frame` (bytes to commands and messages), `command` (the commands that it
sends), `inbox` (what has come and waits), `connection` (a thread that reads, and answers pings whatever happens),
`consumer` (a subscription), `session` (which broker owns a topic). `admin` asks the HTTP API for retention policies.
*/

mod admin;
mod command;
mod connection;
mod consumer;
mod error;
#[cfg(test)]
pub(super) mod fake;
mod frame;
mod id;
mod inbox;
mod proto;
mod session;
mod transport;

pub(super) use admin::{AdminApi, AdminError, Policies, Retention};
pub(super) use command::{Durability, StartAt, Subscription};
#[cfg(test)]
pub(super) use command::{kind, ping};
pub(super) use consumer::PulsarConsumer;
pub(super) use error::PulsarError;
#[cfg(test)]
pub(super) use frame::encode;
pub(super) use frame::{EntryBody, ReceivedEntry};
pub(super) use id::EntryId;
#[cfg(test)]
pub(super) use inbox::FULL;
pub(super) use inbox::Taken;
#[cfg(test)]
pub(super) use proto::{AuthChallenge, BaseCommand, CloseConsumer};
pub(super) use session::{PulsarClient, PulsarSettings};
