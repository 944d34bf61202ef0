//! What a caller asks, checked.

use super::decide::Wanted;
use super::spaces::Keyed;
use crate::policy::Policy;

/// A request, checked, with the policy's defaults filled in.
#[derive(Debug)]
pub(crate) struct Prepared<'a> {
    pub(crate) keyed: Keyed,
    pub(crate) wanted: Wanted<'a>,
    pub(crate) policy: &'a Policy,
}
