//! The query of a request of Socket.IO. Pure. Called by `requests.rs`.

use http::Uri;
use roomcast_wire::engine::Version;

use crate::telemetry::TransportKind;

/// The parameters of the protocol; others are the client's own.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    eio: Option<String>,
    transport: Option<String>,
    /// The session id.
    pub(super) sid: Option<String>,
    /// The answer is to be a script, as old browsers need it.
    pub(super) jsonp: bool,
}

impl Query {
    /// Of parameters that are repeated the first counts.
    pub(super) fn parse(uri: &Uri) -> Self {
        let mut query = Self::default();
        for (key, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            let slot = match &*key {
                "EIO" => &mut query.eio,
                "transport" => &mut query.transport,
                "sid" => &mut query.sid,
                "j" => {
                    query.jsonp = true;
                    continue;
                }
                _ => continue,
            };
            slot.get_or_insert_with(|| value.into_owned());
        }
        query
    }

    /// The version of Engine.IO, if it is one that is served.
    pub(super) fn version(&self) -> Option<Version> {
        match self.eio.as_deref() {
            Some("3") => Some(Version::V3),
            Some("4") => Some(Version::V4),
            _ => None,
        }
    }

    /// The transport, if it is one that is served.
    pub(super) fn transport(&self) -> Option<TransportKind> {
        match self.transport.as_deref() {
            Some("polling") => Some(TransportKind::Polling),
            Some("websocket") => Some(TransportKind::WebSocket),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_parameter_counts() {
        let uri = Uri::from_static("/socket.io/?EIO=4&EIO=3&transport=polling&sid=a%2Eb&username=x&j=0");
        let query = Query::parse(&uri);
        assert_eq!((query.version(), query.transport()), (Some(Version::V4), Some(TransportKind::Polling)));
        assert_eq!((query.sid.as_deref(), query.jsonp), (Some("a.b"), true));
        let none = Query::parse(&Uri::from_static("/socket.io/"));
        assert_eq!((none.version(), none.transport(), none.sid, none.jsonp), (None, None, None, false));
    }
}
