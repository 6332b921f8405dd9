//! Scopes and bounds of API keys: what a key may do, and which rows it may see.

use std::{fmt, sync::Arc};

use uuid::Uuid;

/// The purpose of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiKeyRole {
    /// Posts events and notifications, and reads their results.
    Product,
    /// Administers this installation: senders and their credentials, staff, keys.
    Admin,
}

impl ApiKeyRole {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Product => "product",
            Self::Admin => "admin",
        }
    }

    /// The role of a stored name; an unknown name gets the role with fewer rights.
    pub fn of(name: &str) -> Self {
        if name == "admin" {
            Self::Admin
        } else {
            Self::Product
        }
    }
}

/// One permission of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiKeyScope {
    EventsRead,
    EventsWrite,
    NotificationsRead,
    NotificationsWrite,
    MessagesRead,
    MessagesWrite,
    ContactsRead,
    ContactsWrite,
    ContactsDelete,
    ContactsMerge,
    StaffRead,
    StaffWrite,
    CatalogueRead,
    SendersRead,
    SendersWrite,
    AccountRead,
    StatisticsRead,
    AuditRead,
    KeysRead,
    KeysWrite,
    LogWrite,
    HoldRead,
    HoldWrite,
    VerificationsRead,
    VerificationsWrite,
}

impl ApiKeyScope {
    pub const ALL: [Self; 25] = [
        Self::EventsRead,
        Self::EventsWrite,
        Self::NotificationsRead,
        Self::NotificationsWrite,
        Self::MessagesRead,
        Self::MessagesWrite,
        Self::ContactsRead,
        Self::ContactsWrite,
        Self::ContactsDelete,
        Self::ContactsMerge,
        Self::StaffRead,
        Self::StaffWrite,
        Self::CatalogueRead,
        Self::SendersRead,
        Self::SendersWrite,
        Self::AccountRead,
        Self::StatisticsRead,
        Self::AuditRead,
        Self::KeysRead,
        Self::KeysWrite,
        Self::LogWrite,
        Self::HoldRead,
        Self::HoldWrite,
        Self::VerificationsRead,
        Self::VerificationsWrite,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::EventsRead => "events:read",
            Self::EventsWrite => "events:write",
            Self::NotificationsRead => "notifications:read",
            Self::NotificationsWrite => "notifications:write",
            Self::MessagesRead => "messages:read",
            Self::MessagesWrite => "messages:write",
            Self::ContactsRead => "contacts:read",
            Self::ContactsWrite => "contacts:write",
            Self::ContactsDelete => "contacts:delete",
            Self::ContactsMerge => "contacts:merge",
            Self::StaffRead => "staff:read",
            Self::StaffWrite => "staff:write",
            Self::CatalogueRead => "catalogue:read",
            Self::SendersRead => "senders:read",
            Self::SendersWrite => "senders:write",
            Self::AccountRead => "account:read",
            Self::StatisticsRead => "statistics:read",
            Self::AuditRead => "audit:read",
            Self::KeysRead => "keys:read",
            Self::KeysWrite => "keys:write",
            Self::LogWrite => "log:write",
            Self::HoldRead => "hold:read",
            Self::HoldWrite => "hold:write",
            Self::VerificationsRead => "verifications:read",
            Self::VerificationsWrite => "verifications:write",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }

    /// Whether only admin keys may have it.
    pub const fn is_of_admins(self) -> bool {
        matches!(
            self,
            Self::ContactsDelete
                | Self::ContactsMerge
                | Self::StaffWrite
                | Self::SendersWrite
                | Self::AuditRead
                | Self::KeysRead
                | Self::KeysWrite
                | Self::LogWrite
                | Self::HoldRead
                | Self::HoldWrite
        )
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// The permissions of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApiKeyScopes(u32);

impl ApiKeyScopes {
    /// All scopes that a key of this role may have.
    pub fn of(role: ApiKeyRole) -> Self {
        ApiKeyScope::ALL
            .into_iter()
            .filter(|scope| role == ApiKeyRole::Admin || !scope.is_of_admins())
            .collect()
    }

    /// Parses the scopes of a key's row; an unknown scope of a later version is not granted.
    pub fn stored(words: Option<&str>, role: ApiKeyRole) -> Self {
        match words {
            None => Self::of(role),
            Some(words) => words
                .split_whitespace()
                .filter_map(ApiKeyScope::parse)
                .collect(),
        }
    }

    pub const fn has(self, scope: ApiKeyScope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Whether it includes all of these.
    pub const fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = ApiKeyScope> {
        ApiKeyScope::ALL
            .into_iter()
            .filter(move |scope| self.has(*scope))
    }
}

impl FromIterator<ApiKeyScope> for ApiKeyScopes {
    fn from_iter<I: IntoIterator<Item = ApiKeyScope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |all, it| all | it.bit()))
    }
}

impl fmt::Display for ApiKeyScopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(ApiKeyScope::name).collect();
        formatter.write_str(&names.join(" "))
    }
}

/// The rows that a caller may see and change. Every query that answers a caller takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessBounds {
    /// All rows: for operators, workers, and keys created without bounds.
    All,
    /// The rows of one product, within the key's other bounds.
    Product(Arc<ProductAccess>),
}

/// A product and the bounds of one of its keys. An absent bound does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProductAccess {
    /// Shared by all its keys: the product's rows belong to all of them.
    pub name: String,
    /// It posts only events of this source, or of one that begins with it.
    pub source: Option<String>,
    /// It sends only with these senders, and reads messages to them.
    pub senders: Vec<Uuid>,
    /// It uses only what this catalogue defines.
    pub catalogue: Option<String>,
}

impl AccessBounds {
    /// The bounds of a key; none if all are absent.
    pub fn of(product: ProductAccess) -> Self {
        let has_none =
            product.source.is_none() && product.senders.is_empty() && product.catalogue.is_none();
        if has_none {
            Self::All
        } else {
            Self::Product(Arc::new(product))
        }
    }

    /// A product without further bounds.
    pub fn of_product(name: Option<&str>) -> Self {
        match name {
            None => Self::All,
            Some(name) => Self::Product(Arc::new(ProductAccess {
                name: name.to_owned(),
                ..ProductAccess::default()
            })),
        }
    }

    pub fn product(&self) -> Option<&ProductAccess> {
        match self {
            Self::All => None,
            Self::Product(product) => Some(product),
        }
    }

    /// The product that owns rows made by a caller; `None` for a caller without bounds.
    pub fn owner(&self) -> Option<&str> {
        self.product().map(|product| product.name.as_str())
    }

    /// The catalogue that everything it uses must belong to.
    pub fn catalogue(&self) -> Option<&str> {
        self.product()?.catalogue.as_deref()
    }

    /// Whether it may use an entry of this catalogue, or of none.
    pub fn has_catalogue(&self, of: Option<&str>) -> bool {
        self.catalogue().is_none_or(|own| of == Some(own))
    }

    /// The senders that it is bound to; empty: any.
    pub fn senders(&self) -> &[Uuid] {
        self.product().map_or(&[], |product| &product.senders)
    }

    pub fn has_sender(&self, sender: Uuid) -> bool {
        let own = self.senders();
        own.is_empty() || own.contains(&sender)
    }

    /// Whether it may post events of a source.
    pub fn has_source(&self, source: &str) -> bool {
        self.product()
            .and_then(|product| product.source.as_deref())
            .is_none_or(|bound| is_within(source, bound))
    }
}

/// Whether a source is equal to a bound or below it: `shop` includes `shop`, `shop/orders` and
/// `shop:1`, but not `shopping`.
pub fn is_within(source: &str, bound: &str) -> bool {
    const SEPARATORS: [char; 4] = ['/', ':', '.', '#'];
    source.strip_prefix(bound).is_some_and(|rest| {
        rest.is_empty() || bound.ends_with(SEPARATORS) || rest.starts_with(SEPARATORS)
    })
}

/// Whether some source is within both bounds.
pub fn overlap(one: &str, other: &str) -> bool {
    is_within(one, other) || is_within(other, one)
}

#[cfg(test)]
mod tests {
    use super::{
        AccessBounds, ApiKeyRole, ApiKeyScope, ApiKeyScopes, ProductAccess, is_within, overlap,
    };

    #[test]
    fn a_scope_is_read_as_it_is_written_and_roles_differ_by_what_administers() {
        for scope in ApiKeyScope::ALL {
            assert_eq!(ApiKeyScope::parse(scope.name()), Some(scope));
            assert!(ApiKeyScopes::of(ApiKeyRole::Admin).has(scope));
            assert_eq!(
                ApiKeyScopes::of(ApiKeyRole::Product).has(scope),
                !scope.is_of_admins(),
                "{}",
                scope.name()
            );
        }
        assert_eq!(ApiKeyScope::parse("events"), None);
        let few: ApiKeyScopes = [ApiKeyScope::EventsWrite, ApiKeyScope::EventsRead]
            .into_iter()
            .collect();
        assert_eq!(few.to_string(), "events:read events:write");
        let text = few.to_string() + " of:later";
        assert_eq!(ApiKeyScopes::stored(Some(&text), ApiKeyRole::Product), few);
        assert_eq!(
            ApiKeyScopes::stored(None, ApiKeyRole::Product),
            ApiKeyScopes::of(ApiKeyRole::Product)
        );
        assert!(
            ApiKeyScopes::of(ApiKeyRole::Product).covers(few)
                && !few.covers(ApiKeyScopes::of(ApiKeyRole::Product))
        );
    }

    #[test]
    fn a_source_is_bound_by_whole_words() {
        for (source, bound, expected) in [
            ("shop", "shop", true),
            ("shop/orders", "shop", true),
            ("shop.orders", "shop", true),
            ("shopping", "shop", false),
            ("shop-2", "shop", false),
            ("https://shop.example/a", "https://shop.example/", true),
            ("sho", "shop", false),
            ("", "shop", false),
        ] {
            assert_eq!(is_within(source, bound), expected, "{source} {bound}");
        }
        assert!(overlap("shop", "shop/orders") && overlap("shop/orders", "shop"));
        assert!(!overlap("shop", "shopping"));
    }

    #[test]
    fn a_key_without_any_bound_has_none() {
        let named = || ProductAccess {
            name: "shop".to_owned(),
            ..ProductAccess::default()
        };
        assert_eq!(AccessBounds::of(named()), AccessBounds::All);
        let bound = AccessBounds::of(ProductAccess {
            source: Some("shop".to_owned()),
            ..named()
        });
        assert_eq!(bound.owner(), Some("shop"));
        assert!(bound.has_source("shop/1") && !bound.has_source("crm"));
        assert!(AccessBounds::All.has_source("crm") && AccessBounds::All.has_catalogue(None));
        let own = AccessBounds::of(ProductAccess {
            catalogue: Some("shop".to_owned()),
            ..named()
        });
        assert!(own.has_catalogue(Some("shop")));
        assert!(!own.has_catalogue(Some("crm")) && !own.has_catalogue(None));
    }
}
