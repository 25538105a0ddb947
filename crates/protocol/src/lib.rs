//! The wire protocol of Roomcast: every event, payload, code and limit as a type. Used by the gateway and by the store
//! (names and positions); does no I/O.

pub mod ack;
pub mod body;
pub mod client;
pub mod code;
pub mod event;
pub mod image;
mod integer;
pub mod limits;
pub mod message;
pub mod name;
pub mod position;
pub mod server;
pub mod shape;
pub mod text;

pub use body::{BODY_VERSION, Body, Content, EXTRA_VERSION, Extra, Kind};
pub use code::{Code, Refusal};
pub use image::{Image, ImageType};
pub use message::Message;
pub use name::{RoomName, UserName};
pub use position::{Epoch, Position};
