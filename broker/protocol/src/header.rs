//! Request and response headers.
//!
//! | header | fields |
//! | --- | --- |
//! | request 1 | api key, api version, correlation id, client id |
//! | request 2 | the same, and tagged fields (the client id keeps its old form) |
//! | response 0 | correlation id |
//! | response 1 | correlation id, tagged fields; ApiVersions responses never have it |

use bytes::Bytes;

use crate::api::api_versions::ApiVersionsRequest;
use crate::{DecodeError, Reader, Request, Str, Wire, Writer};

/// What precedes every request's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which API.
    pub api_key: i16,
    /// In which version.
    pub api_version: i16,
    /// Repeated in the response.
    pub correlation_id: i32,
    /// The client's name for itself.
    pub client_id: Option<Str>,
}

impl RequestHeader {
    /// Reads the header; `flexible` tells whether this key and version have tagged fields. What is left
    /// in the second value is the body.
    pub fn read(
        frame: Bytes,
        flexible: impl FnOnce(i16, i16) -> bool,
    ) -> Result<(Self, Bytes), DecodeError> {
        let mut r = Reader::new(frame, 0, false);
        let api_key = i16::read(&mut r).map_err(|e| e.within("RequestHeader.api_key"))?;
        let api_version = i16::read(&mut r).map_err(|e| e.within("RequestHeader.api_version"))?;
        let correlation_id =
            i32::read(&mut r).map_err(|e| e.within("RequestHeader.correlation_id"))?;
        let client_id =
            Option::read(&mut r).map_err(|e: DecodeError| e.within("RequestHeader.client_id"))?;
        if flexible(api_key, api_version) {
            skip_tags(&mut r).map_err(|e| e.within("RequestHeader tags"))?;
        }
        Ok((
            Self {
                api_key,
                api_version,
                correlation_id,
                client_id,
            },
            r.into_rest(),
        ))
    }
}

fn skip_tags(r: &mut Reader) -> Result<(), DecodeError> {
    for _ in 0..r.uvarint()? {
        r.tag()?;
    }
    Ok(())
}

/// A request with its header, ready to be sent.
pub fn encode_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> crate::Frame {
    let flexible = R::flexible(version);
    let mut w = Writer::new(version, false);
    R::KEY.write(&mut w);
    version.write(&mut w);
    correlation_id.write(&mut w);
    client_id.map(Str::from).write(&mut w);
    if flexible {
        w.set_flexible(true);
        w.uvarint(0);
    }
    request.write(&mut w);
    w.into_frame()
}

/// A response with its header, ready to be sent.
pub fn encode_response<R: Request>(
    response: &R::Response,
    version: i16,
    correlation_id: i32,
) -> crate::Frame {
    let flexible = R::flexible(version);
    let mut w = Writer::new(version, flexible);
    correlation_id.write(&mut w);
    if flexible && R::KEY != ApiVersionsRequest::KEY {
        w.uvarint(0);
    }
    response.write(&mut w);
    w.into_frame()
}

/// A response's correlation id and body, from a frame without its length.
pub fn decode_response<R: Request>(
    frame: Bytes,
    version: i16,
) -> Result<(i32, R::Response), DecodeError> {
    let mut r = Reader::new(frame, version, false);
    let correlation_id =
        i32::read(&mut r).map_err(|e| e.within("ResponseHeader.correlation_id"))?;
    if R::flexible(version) && R::KEY != ApiVersionsRequest::KEY {
        skip_tags(&mut r).map_err(|e| e.within("ResponseHeader tags"))?;
    }
    Ok((correlation_id, R::decode_response(r.into_rest(), version)?))
}
