//! A claim in plain data: the request, the answers that hold no lease, and how work fails.

mod answer;
mod failure;
mod request;

pub use answer::{Holder, Receipt};
pub use failure::{Failure, FailureClass};
pub use request::{ClaimRequest, RequestParts};
