//! `money` and `number`: amounts in the form of the reader's language.

use icu_decimal::{
    DecimalFormatter,
    input::Decimal,
    options::DecimalFormatterOptions,
    provider::{Baked as Numbers, DecimalDigitsV1, DecimalSymbolsV1},
};
use icu_experimental::{
    dimension::{
        currency::{CurrencyType, formatter::CurrencyFormatter, options::CurrencyFormatterOptions},
        provider::currency::{
            essentials::CurrencyEssentialsV1,
            fractions::{CurrencyFractions, CurrencyFractionsV1, FractionInfo},
            no_currency::CurrencyPatternsNoCurrencyV1,
            symbols::{CurrencyDecimalSymbolsV1, CurrencySymbolsV1},
        },
    },
    provider::Baked as Currencies,
};
use icu_locale::Locale;
use icu_provider::prelude::*;
use minijinja::{Error, State, value::Value};

use super::{TemplateFilterError, locale, locales::signs_of, no_data, wrong};
use crate::domain::template::{
    context::as_it_came,
    value::{LocalizedNumber, text},
};

/// The accepted form of a number.
pub(in crate::domain::template) const NUMBER: &str = "a number is written 1250 or 1250.50";

/// The accepted form of a currency.
const CURRENCY: &str = "a currency has three letters, such as INR";

/// Most digits of an amount of money.
const MOST_DIGITS: usize = 30;

fn decimal(value: &Value) -> Result<Decimal, TemplateFilterError> {
    let text = match value.as_str() {
        Some(text) => text.trim().to_owned(),
        None if value.is_number() => text(value)?,
        None => return Err(TemplateFilterError::Unreadable(NUMBER)),
    };
    read_decimal(&text).ok_or(TemplateFilterError::Unreadable(NUMBER))
}

fn read_decimal(text: &str) -> Option<Decimal> {
    // Amounts of money have no exponents, and some would be long.
    if text.len() > MOST_DIGITS || text.contains(['e', 'E']) {
        return None;
    }
    text.parse().ok()
}

/// Whether `number` and `money` can format it.
pub(in crate::domain::template) fn is_number(text: &str) -> bool {
    read_decimal(text).is_some()
}

/// The Unicode project's data, except for the number of decimals, and for the signs of numbers in
/// languages that use others in amounts.
struct AmountFormatDataProvider {
    digits: u8,
    signs: Option<DataLocale>,
}

impl DataProvider<CurrencyFractionsV1> for AmountFormatDataProvider {
    #[expect(
        clippy::default_trait_access,
        reason = "the map's type is of a crate that nothing else here needs"
    )]
    fn load(&self, _request: DataRequest) -> Result<DataResponse<CurrencyFractionsV1>, DataError> {
        let default = FractionInfo {
            digits: self.digits,
            ..FractionInfo::default()
        };
        Ok(DataResponse {
            metadata: DataResponseMetadata::default(),
            payload: DataPayload::from_owned(CurrencyFractions {
                fractions: Default::default(),
                default,
            }),
        })
    }
}

/// Forwards a request.
macro_rules! from {
    ($provider:ident: $($marker:ty),+) => {$(
        impl DataProvider<$marker> for AmountFormatDataProvider {
            fn load(&self, mut request: DataRequest) -> Result<DataResponse<$marker>, DataError> {
                // A currency without a symbol in a language has its code there: nothing to report.
                request.metadata.silent = true;
                $provider.load(request)
            }
        }
    )+};
}

from!(Currencies: CurrencyEssentialsV1, CurrencySymbolsV1, CurrencyPatternsNoCurrencyV1, CurrencyDecimalSymbolsV1);
from!(Numbers: DecimalDigitsV1);

impl DataProvider<DecimalSymbolsV1> for AmountFormatDataProvider {
    fn load(&self, mut request: DataRequest) -> Result<DataResponse<DecimalSymbolsV1>, DataError> {
        request.metadata.silent = true;
        let locale = self.signs.as_ref().unwrap_or(request.id.locale);
        let of = request.id.marker_attributes;
        Numbers.load(DataRequest {
            id: DataIdentifierBorrowed::for_marker_attributes_and_locale(of, locale),
            metadata: request.metadata,
        })
    }
}

/// Number of decimals of a currency.
fn digits_of(currency: CurrencyType) -> Result<u8, Error> {
    let fractions: DataPayload<CurrencyFractionsV1> = Currencies
        .load(DataRequest::default())
        .map_err(no_data)?
        .payload;
    Ok(fractions.get().resolve(currency).digits)
}

/// `{{ amount | money("INR") }}`: ₹1,25,000 in India. Zero cents are left out.
pub(in crate::domain::template) fn money(
    state: &mut State<'_, '_>,
    value: &Value,
    currency: &Value,
) -> Result<Value, Error> {
    let code = text(currency)?.trim().to_ascii_uppercase();
    let locale = locale(state);
    let amount = match decimal(value) {
        Ok(amount) => amount,
        Err(trouble) => return trouble.settle(state, value),
    };
    let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    let kind = CurrencyType::try_from_str(&code).ok().filter(|_| is_code);
    let Some(kind) = kind else {
        let shown = format!("{} {}", written(&locale, &amount)?, text(currency)?.trim());
        let shown = Value::from(shown.trim_end());
        return as_it_came(state, &shown, wrong(CURRENCY), Some(CURRENCY));
    };
    money_in(&locale, kind, amount).map(Value::from)
}

fn money_in(locale: &Locale, currency: CurrencyType, amount: Decimal) -> Result<String, Error> {
    let mut digits = digits_of(currency)?;
    let mut rounded = amount;
    rounded.absolute.round(-i16::from(digits));
    rounded.absolute.trim_end();
    if rounded.absolute.nonzero_magnitude_end() >= 0 {
        digits = 0;
    }
    let provider = AmountFormatDataProvider {
        digits,
        signs: signs_of(locale),
    };
    let options = CurrencyFormatterOptions::default();
    CurrencyFormatter::try_new_symbol_unstable(&provider, locale.into(), currency, options)
        .map(|formatter| formatter.format_fixed_decimal(&rounded).to_string())
        .map_err(no_data)
}

/// `{{ count | number }}`: 1,234,567.5; `number(2)`: with two decimals. The result is a number: it
/// can be compared and used in arithmetic.
pub(in crate::domain::template) fn number(
    state: &mut State<'_, '_>,
    value: &Value,
    digits: Option<u8>,
) -> Result<Value, Error> {
    let mut decimal = match decimal(value) {
        Ok(decimal) => decimal,
        Err(trouble) => return trouble.settle(state, value),
    };
    if let Some(digits) = digits {
        let place = -i16::from(digits.min(9));
        decimal.absolute.round(place);
        decimal.absolute.pad_end(place);
    }
    let text = written(&locale(state), &decimal)?;
    let plain = decimal.to_string();
    let number = plain
        .parse::<i64>()
        .map(Value::from)
        .or_else(|_broken| plain.parse::<f64>().map(Value::from))
        .map_err(|_unreadable| wrong(NUMBER))?;
    Ok(Value::from_object(LocalizedNumber { number, text }))
}

fn written(locale: &Locale, decimal: &Decimal) -> Result<String, Error> {
    Ok(
        DecimalFormatter::try_new(locale.into(), DecimalFormatterOptions::default())
            .map_err(no_data)?
            .format(decimal)
            .to_string(),
    )
}
