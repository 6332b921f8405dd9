//! Serves the embedded script, style sheet and icon.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use rust_embed::RustEmbed;

use super::fault::DashboardScreenError;

#[derive(RustEmbed)]
#[folder = "src/dashboard/assets"]
struct StaticAssets;

/// `GET /dashboard/assets/{name}`
pub async fn get(
    request: HttpRequest,
    name: web::Path<String>,
) -> Result<HttpResponse, DashboardScreenError> {
    let file = StaticAssets::get(&name).ok_or(DashboardScreenError::NotFound)?;
    let kind = match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    };
    let tag = format!("\"{}\"", hex::encode(file.metadata.sha256_hash()));
    let known = request
        .headers()
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if known {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    response
        .content_type(kind)
        .insert_header((header::ETAG, tag))
        // Revalidated for each page, and answered with 304: a new version shows at once.
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    Ok(if known {
        response.finish()
    } else {
        response.body(file.data.into_owned())
    })
}
