//! The decoder of WebSocket frames: by the rules of RFC 6455, and against an independent decoder (tungstenite) over random
//! messages and random damage, cut at every place.

#[cfg(test)]
mod frames;
#[cfg(test)]
mod rules;
