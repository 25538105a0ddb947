//! The decoder of WebSocket frames against an independent one (tungstenite), over random messages and random damage,
//! cut at random and at every place.

#[cfg(test)]
mod frames;
