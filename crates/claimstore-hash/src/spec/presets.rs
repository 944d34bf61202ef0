//! Rules for named systems. Each says which of the system's rules it follows, and what it adds.

use super::{Case, Characters, KeySpec};

impl KeySpec {
    /// Salesforce external ids: one or more parts, such as object, external-id field and value.
    ///
    /// The rule followed: an upsert matches external ids by case unless the field is unique *and* set to treat
    /// "ABC" and "abc" as duplicates. So case is kept; for a field that is so set, add `.case(Case::Upper)`.
    /// Added: white space around parts goes, and no part is empty.
    pub fn salesforce() -> KeySpec {
        KeySpec::new().trim(true).parts(1, 8)
    }

    /// Oracle NetSuite external ids: record type and external id.
    ///
    /// The rules followed: external ids ignore case, and are unique per record type; `ord-001` after `ORD-001` is a
    /// collision. So both parts are folded to upper case, and the record type is part of the key. Added: white
    /// space around parts goes, letters are composed, and no part is empty.
    pub fn netsuite() -> KeySpec {
        KeySpec::new().trim(true).compose(true).case(Case::Upper).parts(2, 2)
    }

    /// Dynamics 365 and Dataverse alternate keys: up to `columns` parts, as many as the alternate key has columns
    /// (and one more if the table's name is to go before them).
    ///
    /// The rule followed: an upsert by alternate key with a null part does not match anything and creates a new
    /// row, silently. So null and empty parts are refused, before anything happens.
    pub fn dynamics365(columns: u8) -> KeySpec {
        KeySpec::new().parts(1, columns.max(2))
    }

    /// SAP document numbers and IDocs: one or more parts, such as system, document type and number.
    ///
    /// The rule followed: leading zeros carry meaning, `000123` is not `123`. So everything stays as it is; only
    /// null and empty parts and control characters are refused.
    pub fn sap() -> KeySpec {
        KeySpec::new().parts(1, 8)
    }

    /// Stripe's idempotency keys: one part.
    ///
    /// The rule followed: up to 255 characters. Keys are scoped per account and mode: that is what a namespace is
    /// for.
    pub fn stripe() -> KeySpec {
        KeySpec::new().max_characters(255)
    }

    /// AWS client tokens: one part.
    ///
    /// The rule followed: up to 64 ASCII characters. Added: none of them a control character.
    pub fn client_token() -> KeySpec {
        KeySpec::new().characters(Characters::Ascii).max_characters(64)
    }

    /// Azure Service Bus messages: entity (queue or topic) and `MessageId`.
    ///
    /// The rule followed: duplicate detection goes by `MessageId` within one entity, within a window, without
    /// looking at the body. So the entity is part of the key; and since the body is not compared over there, give
    /// claims a fingerprint here.
    pub fn service_bus() -> KeySpec {
        KeySpec::new().parts(2, 2)
    }

    /// CloudEvents: `source` and `id`.
    ///
    /// The rule followed: `source` and `id` together identify an event; neither may be empty, and they are compared
    /// as they are.
    pub fn cloudevents() -> KeySpec {
        KeySpec::new().parts(2, 2)
    }

    /// A record of a source system, as `system:type:id`.
    ///
    /// Integration practice, not one system's rule. The three parts are separated by `:`; one within a part is
    /// written `\:`.
    pub fn source_record() -> KeySpec {
        KeySpec { separator: b':', ..KeySpec::new().trim(true).parts(3, 3) }
    }
}
