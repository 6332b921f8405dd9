//! The endpoints of `/api/v1`: one list of handlers, from which both the routes that are served
//! and the OpenAPI document are made.
//!
//! Everything else is declared by the handler: method, path and description in `#[utoipa::path]`,
//! the scope in its first argument, [`AuthorizedApiClient`](crate::http::auth::AuthorizedApiClient).
//! `docs/adding-an-endpoint.md` has the steps.

use std::{collections::BTreeMap, sync::LazyLock};

use actix_web::{FromRequest, Handler, Responder, Route, http::Method, web};
use utoipa::{
    Modify, OpenApi,
    openapi::{OpenApi as Document, PathItem},
};

use super::{
    CommonResponses, OpenApiDescription, account, audit, events, hold, keys, log, messages,
    notifications::{self, by_hand, filter, story},
    people::{contact_changes, contacts, identity, preferences, staff, suppressed_addresses},
    senders::{self, credentials, switch},
    stats, verifications,
};
use crate::{
    domain::access::ApiKeyScope,
    http::{auth::AuthorizedHandlerArguments, method_not_allowed},
};

/// The start of every endpoint's path.
pub const PREFIX: &str = "/api/v1";

/// Adds handlers to a [`EndpointsBuilder`], each with its description. The derive finds the description by
/// the handler's path: `#[utoipa::path]` generates it beside the function.
macro_rules! add_each {
    ($builder:ident: $($($part:ident)::+),* $(,)?) => {$({
        #[derive(OpenApi)]
        #[openapi(paths($($part)::+))]
        struct EndpointOpenApiFragment;
        $builder.add(&$($part)::+, EndpointOpenApiFragment::openapi());
    })*};
}

/// Every endpoint there is. The order does not matter.
fn build() -> EndpointsBuilder {
    let mut builder = EndpointsBuilder {
        endpoints: Vec::new(),
        document: OpenApiDescription::openapi(),
    };
    add_each![builder:
        events::post,
        events::list,
        events::get,
        events::replay,
        events::types,
        notifications::post,
        filter::list,
        notifications::get,
        story::get,
        by_hand::retry,
        by_hand::cancel,
        by_hand::send_now,
        by_hand::retry_many,
        by_hand::cancel_many,
        by_hand::send_now_many,
        messages::list,
        messages::get,
        messages::media,
        messages::read,
        contacts::find,
        contacts::get,
        contact_changes::add,
        contact_changes::change,
        contact_changes::delete,
        identity::get,
        identity::conflicts,
        identity::merge,
        identity::split,
        preferences::get,
        preferences::put,
        preferences::kinds,
        preferences::suppressions,
        suppressed_addresses::list,
        suppressed_addresses::lift,
        staff::users,
        staff::user,
        staff::ensure_user,
        staff::delete_user,
        staff::link,
        staff::groups,
        staff::group,
        staff::ensure_group,
        staff::delete_group,
        staff::members,
        staff::add_member,
        staff::remove_member,
        account::notices,
        account::templates,
        senders::list,
        senders::get,
        senders::add,
        senders::change,
        switch::make_default,
        switch::hold,
        switch::release,
        credentials::add,
        credentials::activate,
        credentials::deactivate,
        credentials::remove,
        hold::get,
        hold::start,
        hold::release,
        keys::list,
        keys::create,
        keys::revoke,
        audit::list,
        log::put,
        stats::get,
        verifications::start,
        verifications::get,
        verifications::check,
        verifications::resend,
        verifications::cancel,
    ];
    CommonResponses.modify(&mut builder.document);
    builder
}

/// An operation of the API: a method of a path.
pub struct ApiEndpoint {
    pub method: Method,
    /// In full, with parameters in braces: `/api/v1/events/{id}`.
    pub path: String,
    /// What a key needs; without it the answer is 403.
    pub scope: ApiKeyScope,
    /// Makes the route; each HTTP worker has its own.
    route: Box<dyn Fn() -> Route + Send + Sync>,
}

struct EndpointsBuilder {
    endpoints: Vec<ApiEndpoint>,
    document: Document,
}

impl EndpointsBuilder {
    /// Adds a handler and the operations that its description names.
    fn add<F, Args>(&mut self, handler: &F, described: Document)
    where
        F: Handler<Args> + Send + Sync,
        Args: FromRequest + AuthorizedHandlerArguments + 'static,
        F::Output: Responder + 'static,
    {
        for (path, item) in &described.paths.paths {
            for method in methods(item) {
                let (handler, served) = (handler.clone(), method.clone());
                self.endpoints.push(ApiEndpoint {
                    method,
                    path: path.clone(),
                    scope: Args::SCOPE,
                    route: Box::new(move || web::method(served.clone()).to(handler.clone())),
                });
            }
        }
        self.document.merge(described);
    }
}

/// The methods of a path.
fn methods(item: &PathItem) -> impl Iterator<Item = Method> {
    [
        (&item.get, Method::GET),
        (&item.put, Method::PUT),
        (&item.post, Method::POST),
        (&item.delete, Method::DELETE),
        (&item.options, Method::OPTIONS),
        (&item.head, Method::HEAD),
        (&item.patch, Method::PATCH),
        (&item.trace, Method::TRACE),
    ]
    .into_iter()
    .filter_map(|(operation, method)| operation.is_some().then_some(method))
}

/// All endpoints.
pub fn all() -> &'static [ApiEndpoint] {
    static ALL: LazyLock<Vec<ApiEndpoint>> = LazyLock::new(|| build().endpoints);
    &ALL
}

/// The OpenAPI document. Made anew at each call, which costs some milliseconds.
pub fn document() -> Document {
    build().document
}

/// Registers all endpoints in the scope of [`PREFIX`].
pub fn configure(scope: &mut web::ServiceConfig) {
    // The first resource that matches is taken. In this order `{id}` comes after every word that
    // stands at its place (`{` sorts after the letters), so that it hides none of them.
    let mut by_path: BTreeMap<&str, Vec<&ApiEndpoint>> = BTreeMap::new();
    for endpoint in all() {
        let path = endpoint.path.strip_prefix(PREFIX).unwrap_or(&endpoint.path);
        by_path.entry(path).or_default().push(endpoint);
    }
    for (path, endpoints) in by_path {
        if let [endpoint] = endpoints.as_slice() {
            // Any other method is left to the resources after it, and is 404 in the end.
            scope.route(path, (endpoint.route)());
        } else {
            let resource = web::resource(path).default_service(web::to(method_not_allowed));
            scope.service(endpoints.iter().fold(resource, |resource, endpoint| {
                resource.route((endpoint.route)())
            }));
        }
    }
}
