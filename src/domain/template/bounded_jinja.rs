//! Compiles and runs the Jinja2 of catalogues so that a rendering stays within its budget.
//!
//! The template engine bounds the instructions of a rendering but not their output: doubling a text
//! thirty times takes sixty instructions. So the parsed template is rebuilt ([`super::rebuild`])
//! before it is compiled. That uses the engine's parser and code generator, whose names may change
//! with any version: its version is pinned in `Cargo.toml`.

use std::{collections::BTreeMap, sync::OnceLock};

use minijinja::{
    AutoEscape, Environment, UndefinedBehavior, Value,
    machinery::{CodeGenerator, Instructions, eval, make_string_output, parse, parse_expr},
    syntax::SyntaxConfig,
};

use super::{
    TemplateError,
    budget::{self, RenderBudgetExceeded},
    builtins,
    context::RenderContext,
    rebuild::TemplateSyntaxTreeRewriter,
};

/// Most instructions of one rendering.
const FUEL: u64 = 20_000;

fn new_environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_formatter(budget::print);
    builtins::add(&mut environment);
    environment
}

fn environment() -> &'static Environment<'static> {
    static ENVIRONMENT: OnceLock<Environment<'static>> = OnceLock::new();
    ENVIRONMENT.get_or_init(new_environment)
}

/// For HTML: values are escaped.
fn environment_of_html() -> &'static Environment<'static> {
    static ENVIRONMENT: OnceLock<Environment<'static>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let mut environment = new_environment();
        environment.set_formatter(budget::print_html);
        environment
    })
}

/// For texts in which an empty expression is an error.
fn environment_of_keys() -> &'static Environment<'static> {
    static ENVIRONMENT: OnceLock<Environment<'static>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let mut environment = new_environment();
        environment.set_formatter(budget::print_something);
        environment
    })
}

/// A text or an expression, ready to be rendered.
pub(super) struct CompiledJinjaTemplate<'source> {
    instructions: Instructions<'source>,
    /// The variables it uses, sorted.
    pub(super) names: Vec<String>,
}

/// Compiles an expression.
pub(super) fn expression(source: &str) -> Result<CompiledJinjaTemplate<'_>, TemplateError> {
    let parsed = parse_expr(source).map_err(|error| failed(&error, TemplateError::Syntax))?;
    let mut rebuild = TemplateSyntaxTreeRewriter::default();
    let charging = rebuild.expr(&parsed)?;
    let mut generator = CodeGenerator::new("<expression>", source);
    generator.compile_expr(&charging);
    Ok(CompiledJinjaTemplate::new(generator, rebuild))
}

/// Compiles a text with expressions, `if`, `for` and `set`.
pub(super) fn text(source: &str) -> Result<CompiledJinjaTemplate<'_>, TemplateError> {
    let parsed = parse(source, "<text>", SyntaxConfig::default())
        .map_err(|error| failed(&error, TemplateError::Syntax))?;
    let mut rebuild = TemplateSyntaxTreeRewriter::default();
    let charging = rebuild.stmt(&parsed)?;
    let mut generator = CodeGenerator::new("<text>", source);
    generator.compile_stmt(&charging);
    Ok(CompiledJinjaTemplate::new(generator, rebuild))
}

impl<'source> CompiledJinjaTemplate<'source> {
    fn new(
        generator: CodeGenerator<'source>,
        rebuild: TemplateSyntaxTreeRewriter<'source>,
    ) -> Self {
        Self {
            instructions: generator.finish().0,
            names: rebuild.into_names(),
        }
    }

    /// The value of an expression.
    pub(super) fn value(&self, context: &RenderContext) -> Result<Value, TemplateError> {
        Ok(self
            .run(environment(), context)?
            .0
            .unwrap_or(Value::UNDEFINED))
    }

    /// A text, rendered.
    pub(super) fn render(&self, context: &RenderContext) -> Result<String, TemplateError> {
        Ok(self.run(environment(), context)?.1)
    }

    /// A text of HTML, rendered with its values escaped.
    pub(super) fn render_html(&self, context: &RenderContext) -> Result<String, TemplateError> {
        Ok(self.run(environment_of_html(), context)?.1)
    }

    /// Renders a text in which no expression may be empty.
    pub(super) fn render_full(&self, context: &RenderContext) -> Result<String, TemplateError> {
        Ok(self.run(environment_of_keys(), context)?.1)
    }

    fn run(
        &self,
        environment: &'static Environment<'static>,
        context: &RenderContext,
    ) -> Result<(Option<Value>, String), TemplateError> {
        let mut rendered = String::new();
        let blocks: BTreeMap<&'source str, Instructions<'source>> = BTreeMap::new();
        let (value, state) = eval(
            environment,
            &self.instructions,
            context.root(),
            &blocks,
            &mut make_string_output(&mut rendered),
            AutoEscape::None,
        )
        .map_err(|error| failed(&error, TemplateError::Render))?;
        context.note(&state);
        Ok((value, rendered))
    }
}

/// The error, without the values that were being rendered.
fn failed(error: &minijinja::Error, kind: fn(String) -> TemplateError) -> TemplateError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if inner.is::<RenderBudgetExceeded>() {
            return TemplateError::TooLarge;
        }
        cause = inner.source();
    }
    kind(error.detail().map_or_else(
        || error.kind().to_string(),
        |detail| format!("{}: {detail}", error.kind()),
    ))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, env};

    use serde_json::{Value, json};

    use super::super::{TemplateBody, TemplateError, check_text, holds, render_text, variables_of};
    use crate::domain::template::builtins::{
        CHARGED, CHARGED_TEXT, COMPARISON, FILTERS, NUMBER, PRODUCT,
    };

    /// Data that a product may send: 200,000 bytes of text, and a list.
    fn context() -> Value {
        json!({
            "text": "x ".repeat(100_000),
            "lines": "x\n".repeat(2_000),
            "list": vec!["x"; 5_000],
            "n": 2_000_000_000_u32,
            "few": [1, 2],
            "price": 250,
            "count": 3,
        })
    }

    /// For each filter: a text that maximizes its output. A filter whose output is no larger than
    /// its argument is tried in a loop whose results all stay in use.
    fn hostile(filter: &str) -> String {
        let own = match filter {
            PRODUCT => "text * n",
            COMPARISON => "text < n",
            NUMBER => "text - n",
            CHARGED => "[[text, text], [text, text], [text, text], [text, text]]",
            CHARGED_TEXT => "text ~ text ~ text ~ text ~ text ~ text",
            "batch" => "few | batch(n, 'x')",
            "slice" => "few | slice(n, 'x')",
            "format" => "'%2000000000d' | format(1)",
            "indent" => "lines | indent(n)",
            "join" => "list | join(text)",
            "replace" => "text | replace('', text)",
            "tojson" => "[[few]] | tojson(indent=n)",
            "pprint" => "[list, list, list, list] | pprint",
            "split" => "text | split('')",
            "map" => "list | map('replace', '', text)",
            "date" => "'2026-02-01' | date(text)",
            "money" => "'1e2000000000' | money('INR')",
            "number" => "'1e2000000000' | number(9)",
            "attr" => "dict(a=text) | attr('a') | replace('', text)",
            "round" | "abs" | "float" | "int" => return format!("{{{{ text * (n | {filter}) }}}}"),
            "first" | "last" | "min" | "max" | "sum" => {
                return format!("{{% set all = [text | {filter}, text] * n %}}");
            }
            "default" | "d" => "none_given | default(text) | replace('', text)",
            "bool" | "count" | "length" | "wordcount" => {
                return format!("{{{{ text * (text | {filter}) }}}}");
            }
            // Each time a copy; all of them are kept.
            _ => {
                let call = match filter {
                    "chain" | "zip" => format!("list | {filter}(list)"),
                    "groupby" | "selectattr" | "rejectattr" => {
                        format!("[dict(a=text), dict(a=text)] | {filter}('a')")
                    }
                    "reject" => "list | reject('none')".to_owned(),
                    "select" => "list | select('string')".to_owned(),
                    "dictsort" | "items" => format!("dict(a=text, b=text) | {filter}"),
                    _ => format!("text | {filter}"),
                };
                return format!(
                    "{{% set kept = [] %}}{{% for i in range(2000) %}}\
                     {{% set kept = [kept, {call}] %}}{{% endfor %}}"
                );
            }
        };
        format!("{{{{ {own} }}}}")
    }

    /// Runs a test in a process of its own and measures its peak memory: other tests run beside
    /// this one.
    fn alone(test: &str, body: fn(&Value)) {
        const ALONE: &str = "HERALD_TEST_ALONE";
        if env::var_os(ALONE).is_some() {
            let context = context();
            let before = peak_kib();
            body(&context);
            let grown = peak_kib().saturating_sub(before);
            assert!(grown < 32 * 1024, "{grown} KiB");
            return;
        }
        let path = module_path!().split_once("::").unwrap().1;
        let output = std::process::Command::new(env::current_exe().unwrap())
            .args(["--exact", &format!("{path}::{test}"), "--test-threads=1"])
            .env(ALONE, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}"
        );
    }

    fn peak_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn every_filter_has_a_bound_of_what_it_makes() {
        alone("every_filter_has_a_bound_of_what_it_makes", every_filter);
    }

    fn every_filter(context: &Value) {
        let names: BTreeSet<&str> = FILTERS.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names.len(), FILTERS.len());
        for name in names {
            let source = hostile(name);
            let rendered = render_text(&source, context);
            let error = rendered.expect_err(&source);
            let makes_nothing = matches!(
                name,
                PRODUCT
                    | COMPARISON
                    | NUMBER
                    | "abs"
                    | "bool"
                    | "count"
                    | "date"
                    | "first"
                    | "float"
                    | "int"
                    | "last"
                    | "length"
                    | "max"
                    | "min"
                    | "money"
                    | "number"
                    | "round"
                    | "sum"
                    | "wordcount"
            );
            assert!(
                error == TemplateError::TooLarge || makes_nothing,
                "{source}: {error}"
            );
        }
    }

    #[test]
    fn no_operator_statement_or_function_makes_more_than_a_rendering_may() {
        alone(
            "no_operator_statement_or_function_makes_more_than_a_rendering_may",
            operators,
        );
    }

    fn operators(context: &Value) {
        for source in [
            "{{ range(n) | list | length }}",
            "{{ range(0, n, 1) | join(text) }}",
            "{{ range(-9223372036854775807, 9223372036854775807) | length }}",
            "{{ (list + list + list + list + list + list + list + list) | length }}",
            "{{ (text + text + text + text + text + text) | length }}",
            "{{ [text[:], text[:], text[:], text[:], text[1:]] | length }}",
            "{{ {'a': text, 'b': text, 'c': text, 'd': text, 'e': text, 'f': text} | length }}",
            "{{ dict(a=text, b=text, c=text, d=text, e=text, f=text) | length }}",
            "{{ (text, text, text, text, text, text) | length }}",
            "{{ few * n }}",
            "{{ n * list }}",
            "{% set t = text %}{% for i in range(40) %}{{ t }}{% endfor %}",
            "{% for i in range(6000) %}{{ text }}{% endfor %}",
            // Doubled thirty times.
            "{% set a = 'xxxxxxxxxxxxxxxx' %}{% set a = a ~ a ~ a ~ a %}{% set a = a ~ a ~ a ~ a %}\
             {% set a = a ~ a ~ a ~ a %}{% set a = a ~ a ~ a ~ a %}{% set a = a ~ a ~ a ~ a %}\
             {% set a = a ~ a ~ a ~ a %}{% set a = a ~ a ~ a ~ a %}{% set a = a ~ a ~ a ~ a %}{{ a }}",
            "{% set a = [1] %}{% set a = [a, a, a, a, a, a, a, a] %}{% set a = [a, a, a, a, a, a, a, a] %}\
             {% set a = [a, a, a, a, a, a, a, a] %}{% set a = [a, a, a, a, a, a, a, a] %}\
             {% set a = [a, a, a, a, a, a, a, a] %}{% set a = [a, a, a, a, a, a, a, a] %}{{ a == a }}",
            "{% for a in [[text, text]] %}{% for b in [[a, a, a, a]] %}{% for c in [[b, b, b, b]] %}\
             {{ c == c }}{% endfor %}{% endfor %}{% endfor %}",
        ] {
            let rendered = render_text(source, context);
            let error = rendered.expect_err(source);
            assert!(
                error == TemplateError::TooLarge || source.contains(" * "),
                "{source}: {error}"
            );
        }
        // Text between the expressions counts, too.
        let long = "y".repeat(10_000);
        let source = format!("{{% for i in range(4000) %}}{long}{{% endfor %}}");
        assert_eq!(render_text(&source, context), Err(TemplateError::TooLarge));
        assert_eq!(
            holds("text | replace('', text)", context),
            Err(TemplateError::TooLarge)
        );
        let body =
            TemplateBody::parse("See {{ text ~ text ~ text ~ text ~ text ~ text }} here.").unwrap();
        assert_eq!(body.parameters(context), Err(TemplateError::TooLarge));
    }

    #[test]
    fn what_has_no_bound_is_refused_when_a_catalogue_is_read() {
        for (source, rule) in [
            ("{{ 'x' * 100000000 }}", "only numbers"),
            ("{{ 100000000 * 'x' * 100000000 }}", "only numbers"),
            ("{{ [1] * 100000000 }}", "only numbers"),
            (
                "{% macro a() %}{{ a() }}{% endmacro %}",
                "unknown statement",
            ),
            ("{% include 'x' %}", "unknown statement"),
            ("{% filter upper %}x{% endfilter %}", "only if, for and set"),
            ("{% set x %}x{% endset %}", "only if, for and set"),
            ("{% with x = 1 %}{% endwith %}", "only if, for and set"),
            (
                "{% for x in y recursive %}{{ loop(x) }}{% endfor %}",
                "only if, for and set",
            ),
            ("{% set x.y = 1 %}", "only names can be set"),
            ("{{ namespace() }}", "can be called"),
            ("{{ text.format(1) }}", "can be called"),
            (
                "{{ text | center(2000000000) }}",
                "there is no filter center",
            ),
            ("{{ text is prime }}", "there is no test prime"),
        ] {
            let error = check_text(source).unwrap_err().to_string();
            assert!(error.contains(rule), "{source}: {error}");
        }
    }

    #[test]
    fn what_catalogues_write_is_rendered_as_jinja_does() {
        let context = context();
        for (source, expected) in [
            (
                "{{ price * count }} {{ price * 1.5 }} {{ 2 * 3 + 1 }}",
                "750 375 7",
            ),
            ("{{ 'a' ~ 1 ~ [1, 'b'] ~ none }}", "a11, b"),
            (
                "{{ few | join(', ') }} {{ (few + [3])[1:] | join }}",
                "1, 2 23",
            ),
            ("{{ 'a-b' | replace('-', '+') | upper }}", "A+B"),
            (
                "{% for i in range(3) if i != 1 %}{{ loop.index }}:{{ i }}{{ ',' if not loop.last }}{% else %}none{% endfor %}",
                "1:0,2:2",
            ),
            (
                "{% for (k, v) in {'a': 1, 'b': 2} | items %}{{ k }}{{ v }}{% endfor %}",
                "a1b2",
            ),
            (
                "{% set total = price + 1 %}{% if total > 250 %}more{% else %}less{% endif %}",
                "more",
            ),
            (
                "{{ '%.2f' | format(2.5) }} {{ few | sum }} {{ few | map('string') | join('/') }}",
                "2.50 3 1/2",
            ),
            (
                "{{ absent | default('-') }} {{ 3 is divisibleby(3) }} {{ 1 in few }}",
                "- true true",
            ),
            (
                "{{ few | tojson }} {{ 'x' | indent(2, true) }}",
                "[1, 2]   x",
            ),
        ] {
            assert_eq!(render_text(source, &context).unwrap(), expected, "{source}");
        }
    }

    #[test]
    fn the_names_that_a_text_asks_for_are_those_it_does_not_set_itself() {
        let source = "{% set a = b %}{{ a ~ c.d }}{% for (k, v) in e | items %}{{ k ~ v ~ f }}\
                      {{ loop.index }}{% else %}{{ g }}{% endfor %}{{ range(h) | join(i) }}{{ k }}";
        assert_eq!(
            variables_of(source).unwrap(),
            ["b", "c", "e", "f", "g", "h", "i", "k"]
        );
    }
}
