//! Rebuilds parsed templates so that every value they make is charged to the budget
//! ([`super::budget`]).
//!
//! Every value that an operator, a slice or a list puts into a new one goes through a filter that
//! charges for it; text between expressions is printed like a value; statements and calls whose
//! size cannot be known beforehand are refused. This happens before compilation, because the
//! compiler evaluates constant expressions.

use std::collections::BTreeSet;

use minijinja::{
    Value,
    machinery::{
        Span,
        ast::{
            BinOp, BinOpKind, Call, CallArg, Compare, CompareOp, CompareOpKind, Const, EmitExpr,
            Expr, Filter, ForLoop, GetAttr, GetItem, IfCond, IfExpr, List, Map, Set, Slice,
            Spanned, Stmt, Template, Test, Tuple, UnaryOp, UnaryOpKind, Var,
        },
    },
};

use super::{
    TemplateError,
    builtins::{CHARGED, CHARGED_TEXT, COMPARISON, FILTERS, FUNCTIONS, NUMBER, PRODUCT, TESTS},
};

/// Rebuilds a parsed template, and records the variables it uses.
#[derive(Default)]
pub(super) struct TemplateSyntaxTreeRewriter<'source> {
    /// Variables that the text itself defines, by block.
    declared: Vec<Vec<&'source str>>,
    names: BTreeSet<String>,
}

impl<'source> TemplateSyntaxTreeRewriter<'source> {
    /// The variables it uses, sorted.
    pub(super) fn into_names(self) -> Vec<String> {
        self.names.into_iter().collect()
    }

    fn stmts(&mut self, stmts: &[Stmt<'source>]) -> Result<Vec<Stmt<'source>>, TemplateError> {
        stmts.iter().map(|stmt| self.stmt(stmt)).collect()
    }

    fn block(&mut self, stmts: &[Stmt<'source>]) -> Result<Vec<Stmt<'source>>, TemplateError> {
        self.declared.push(Vec::new());
        let rebuilt = self.stmts(stmts);
        self.declared.pop();
        rebuilt
    }

    /// Rebuilds a statement, or a whole text.
    pub(super) fn stmt(&mut self, stmt: &Stmt<'source>) -> Result<Stmt<'source>, TemplateError> {
        Ok(match stmt {
            Stmt::Template(it) => {
                let children = self.block(&it.children)?;
                Stmt::Template(Spanned::new(Template { children }, it.span()))
            }
            Stmt::EmitExpr(it) => {
                let expr = self.expr(&it.expr)?;
                Stmt::EmitExpr(Spanned::new(EmitExpr { expr }, it.span()))
            }
            // Printed like a value, so that repetitions in a loop are charged each time.
            Stmt::EmitRaw(it) => {
                // Marked, so that HTML escapes values and not the text around them.
                let value = Value::from_safe_string(it.raw.to_owned());
                let expr = Expr::Const(Spanned::new(Const { value }, it.span()));
                Stmt::EmitExpr(Spanned::new(EmitExpr { expr }, it.span()))
            }
            Stmt::ForLoop(it) if !it.recursive => {
                let iter = self.expr(&it.iter)?;
                self.declared.push(vec!["loop"]);
                let target = self.target(&it.target);
                let filter_expr = it.filter_expr.as_ref().map(|expr| self.expr(expr));
                let body = self.stmts(&it.body);
                self.declared.pop();
                let rebuilt = ForLoop {
                    target: target?,
                    iter,
                    filter_expr: filter_expr.transpose()?,
                    recursive: false,
                    body: body?,
                    else_body: self.block(&it.else_body)?,
                };
                Stmt::ForLoop(Spanned::new(rebuilt, it.span()))
            }
            Stmt::IfCond(it) => {
                let rebuilt = IfCond {
                    expr: self.expr(&it.expr)?,
                    true_body: self.stmts(&it.true_body)?,
                    false_body: self.stmts(&it.false_body)?,
                };
                Stmt::IfCond(Spanned::new(rebuilt, it.span()))
            }
            Stmt::Set(it) => {
                let expr = self.expr(&it.expr)?;
                let target = self.target(&it.target)?;
                Stmt::Set(Spanned::new(Set { target, expr }, it.span()))
            }
            _ => {
                return Err(TemplateError::Unsupported(
                    "of {% … %}, only if, for and set",
                ));
            }
        })
    }

    /// The target of a loop or a `set`: names, or tuples of them.
    fn target(&mut self, target: &Expr<'source>) -> Result<Expr<'source>, TemplateError> {
        match target {
            Expr::Var(it) => {
                if let Some(block) = self.declared.last_mut() {
                    block.push(it.id);
                }
                Ok(Expr::Var(Spanned::new(Var { id: it.id }, it.span())))
            }
            Expr::Tuple(it) => {
                let items = self.targets(&it.items)?;
                Ok(Expr::Tuple(Spanned::new(Tuple { items }, it.span())))
            }
            Expr::List(it) => {
                let items = self.targets(&it.items)?;
                Ok(Expr::List(Spanned::new(List { items }, it.span())))
            }
            _ => Err(TemplateError::Unsupported("only names can be set")),
        }
    }

    fn targets(&mut self, items: &[Expr<'source>]) -> Result<Vec<Expr<'source>>, TemplateError> {
        items.iter().map(|item| self.target(item)).collect()
    }

    fn optional(
        &mut self,
        expr: Option<&Expr<'source>>,
    ) -> Result<Option<Expr<'source>>, TemplateError> {
        expr.map(|expr| self.expr(expr)).transpose()
    }

    fn charged_all(
        &mut self,
        exprs: &[Expr<'source>],
    ) -> Result<Vec<Expr<'source>>, TemplateError> {
        exprs
            .iter()
            .map(|expr| self.charged(expr, CHARGED))
            .collect()
    }

    /// An expression whose value becomes part of a new one.
    fn charged(
        &mut self,
        expr: &Expr<'source>,
        name: &'static str,
    ) -> Result<Expr<'source>, TemplateError> {
        let rebuilt = self.expr(expr)?;
        // Charged in loops, too, except what cannot be larger than the source.
        if matches!(&rebuilt, Expr::Const(it) if it.value.is_number()) {
            return Ok(rebuilt);
        }
        Ok(filter(name, rebuilt, Vec::new(), expr.span()))
    }

    /// Rebuilds an expression.
    pub(super) fn expr(&mut self, expr: &Expr<'source>) -> Result<Expr<'source>, TemplateError> {
        let span = expr.span();
        Ok(match expr {
            Expr::Var(it) => {
                if !self.declared.iter().flatten().any(|name| *name == it.id) {
                    self.names.insert(it.id.to_owned());
                }
                Expr::Var(Spanned::new(Var { id: it.id }, span))
            }
            Expr::Const(it) => {
                let value = it.value.clone();
                Expr::Const(Spanned::new(Const { value }, span))
            }
            Expr::Slice(it) => {
                let rebuilt = Slice {
                    expr: self.charged(&it.expr, CHARGED)?,
                    start: self.optional(it.start.as_ref())?,
                    stop: self.optional(it.stop.as_ref())?,
                    step: self.optional(it.step.as_ref())?,
                };
                Expr::Slice(Spanned::new(rebuilt, span))
            }
            Expr::UnaryOp(it) => {
                #[expect(clippy::needless_match, reason = "the engine's type cannot be copied")]
                let op = match it.op {
                    UnaryOpKind::Not => UnaryOpKind::Not,
                    UnaryOpKind::Neg => UnaryOpKind::Neg,
                };
                let expr = match op {
                    UnaryOpKind::Not => self.expr(&it.expr)?,
                    UnaryOpKind::Neg => self.number(&it.expr)?,
                };
                Expr::UnaryOp(Spanned::new(UnaryOp { op, expr }, span))
            }
            Expr::BinOp(it) => self.operation(it, span)?,
            Expr::Compare(it) => self.comparison(it, span)?,
            Expr::IfExpr(it) => {
                let rebuilt = IfExpr {
                    test_expr: self.expr(&it.test_expr)?,
                    true_expr: self.expr(&it.true_expr)?,
                    false_expr: self.optional(it.false_expr.as_ref())?,
                };
                Expr::IfExpr(Spanned::new(rebuilt, span))
            }
            Expr::Filter(it) => {
                if !FILTERS.iter().any(|(name, ..)| *name == it.name) {
                    return Err(TemplateError::Syntax(format!(
                        "there is no filter {}",
                        it.name
                    )));
                }
                let rebuilt = Filter {
                    name: it.name,
                    expr: self.optional(it.expr.as_ref())?,
                    args: self.args(&it.args)?,
                };
                Expr::Filter(Spanned::new(rebuilt, span))
            }
            Expr::Test(it) => {
                if !TESTS.iter().any(|(name, ..)| *name == it.name) {
                    return Err(TemplateError::Syntax(format!(
                        "there is no test {}",
                        it.name
                    )));
                }
                let rebuilt = Test {
                    name: it.name,
                    expr: self.expr(&it.expr)?,
                    args: self.args(&it.args)?,
                };
                Expr::Test(Spanned::new(rebuilt, span))
            }
            Expr::GetAttr(it) => {
                let expr = self.expr(&it.expr)?;
                Expr::GetAttr(Spanned::new(
                    GetAttr {
                        expr,
                        name: it.name,
                    },
                    span,
                ))
            }
            Expr::GetItem(it) => {
                let rebuilt = GetItem {
                    expr: self.expr(&it.expr)?,
                    subscript_expr: self.expr(&it.subscript_expr)?,
                };
                Expr::GetItem(Spanned::new(rebuilt, span))
            }
            Expr::Call(it) => {
                let expr = match &it.expr {
                    Expr::Var(function) if FUNCTIONS.contains(&function.id) => {
                        Expr::Var(Spanned::new(Var { id: function.id }, function.span()))
                    }
                    _ => {
                        return Err(TemplateError::Unsupported(
                            "only range() and dict() can be called",
                        ));
                    }
                };
                let args = self.args(&it.args)?;
                Expr::Call(Spanned::new(Call { expr, args }, span))
            }
            Expr::List(it) => {
                let items = self.charged_all(&it.items)?;
                Expr::List(Spanned::new(List { items }, span))
            }
            Expr::Tuple(it) => {
                let items = self.charged_all(&it.items)?;
                Expr::Tuple(Spanned::new(Tuple { items }, span))
            }
            Expr::Map(it) => {
                let keys = self.charged_all(&it.keys)?;
                let values = self.charged_all(&it.values)?;
                Expr::Map(Spanned::new(Map { keys, values }, span))
            }
        })
    }

    fn operation(
        &mut self,
        it: &BinOp<'source>,
        span: Span,
    ) -> Result<Expr<'source>, TemplateError> {
        if let Some(symbol) = symbol_of_one(it.op) {
            let (left, right) = (self.expr(&it.left)?, self.expr(&it.right)?);
            let operator = constant(symbol, span);
            let args = vec![CallArg::Pos(operator), CallArg::Pos(right)];
            return Ok(filter(COMPARISON, left, args, span));
        }
        let (left, right) = match it.op {
            BinOpKind::Mul => {
                if is_repeated(&it.left) || is_repeated(&it.right) {
                    return Err(TemplateError::Repetition);
                }
                let (left, right) = (self.expr(&it.left)?, self.expr(&it.right)?);
                return Ok(filter(PRODUCT, left, vec![CallArg::Pos(right)], span));
            }
            BinOpKind::Add => (
                self.charged(&it.left, CHARGED)?,
                self.charged(&it.right, CHARGED)?,
            ),
            BinOpKind::Sub
            | BinOpKind::Div
            | BinOpKind::FloorDiv
            | BinOpKind::Rem
            | BinOpKind::Pow => (self.number(&it.left)?, self.number(&it.right)?),
            BinOpKind::Concat => (
                self.charged(&it.left, CHARGED_TEXT)?,
                self.charged(&it.right, CHARGED_TEXT)?,
            ),
            _ => (self.expr(&it.left)?, self.expr(&it.right)?),
        };
        let rebuilt = BinOp {
            op: it.op,
            left,
            right,
        };
        Ok(Expr::BinOp(Spanned::new(rebuilt, span)))
    }

    /// Values are compared only with their own kind ([`super::value::compare`]); whether a list
    /// contains something is left to the engine.
    fn comparison(
        &mut self,
        it: &Compare<'source>,
        span: Span,
    ) -> Result<Expr<'source>, TemplateError> {
        let first = self.expr(&it.expr)?;
        let is_membership = |step: &CompareOp<'_>| symbol(step.op).is_none();
        if it.ops.iter().any(is_membership) {
            if it.ops.len() > 1 {
                return Err(TemplateError::Unsupported(
                    "`in` cannot be chained with another comparison: write `and` between them",
                ));
            }
            let mut ops = Vec::with_capacity(it.ops.len());
            for step in &it.ops {
                let expr = self.expr(&step.expr)?;
                ops.push(CompareOp { op: step.op, expr });
            }
            return Ok(Expr::Compare(Spanned::new(
                Compare { expr: first, ops },
                span,
            )));
        }
        let mut args = Vec::with_capacity(it.ops.len() * 2);
        for step in &it.ops {
            let operator = constant(symbol(step.op).unwrap_or_default(), step.expr.span());
            args.push(CallArg::Pos(operator));
            args.push(CallArg::Pos(self.expr(&step.expr)?));
        }
        Ok(filter(COMPARISON, first, args, span))
    }

    /// An expression that is used in arithmetic.
    fn number(&mut self, expr: &Expr<'source>) -> Result<Expr<'source>, TemplateError> {
        let rebuilt = self.expr(expr)?;
        if matches!(&rebuilt, Expr::Const(_)) {
            return Ok(rebuilt);
        }
        Ok(filter(NUMBER, rebuilt, Vec::new(), expr.span()))
    }

    fn args(&mut self, args: &[CallArg<'source>]) -> Result<Vec<CallArg<'source>>, TemplateError> {
        args.iter()
            .map(|arg| {
                Ok(match arg {
                    CallArg::Pos(expr) => CallArg::Pos(self.expr(expr)?),
                    CallArg::Kwarg(name, expr) => CallArg::Kwarg(name, self.expr(expr)?),
                    CallArg::PosSplat(expr) => CallArg::PosSplat(self.charged(expr, CHARGED)?),
                    CallArg::KwargSplat(expr) => CallArg::KwargSplat(self.charged(expr, CHARGED)?),
                })
            })
            .collect()
    }
}

fn filter<'source>(
    name: &'static str,
    expr: Expr<'source>,
    args: Vec<CallArg<'source>>,
    span: Span,
) -> Expr<'source> {
    let expr = Some(expr);
    Expr::Filter(Spanned::new(Filter { name, expr, args }, span))
}

fn constant<'source>(text: &'static str, span: Span) -> Expr<'source> {
    let value = Value::from(text);
    Expr::Const(Spanned::new(Const { value }, span))
}

/// The symbol of a comparison of two values.
const fn symbol_of_one(operator: BinOpKind) -> Option<&'static str> {
    match operator {
        BinOpKind::Eq => Some("=="),
        BinOpKind::Ne => Some("!="),
        BinOpKind::Lt => Some("<"),
        BinOpKind::Lte => Some("<="),
        BinOpKind::Gt => Some(">"),
        BinOpKind::Gte => Some(">="),
        _ => None,
    }
}

/// The symbol of a step of a longer comparison; `in` and `not in` have none.
const fn symbol(operator: CompareOpKind) -> Option<&'static str> {
    match operator {
        CompareOpKind::Eq => Some("=="),
        CompareOpKind::Ne => Some("!="),
        CompareOpKind::Lt => Some("<"),
        CompareOpKind::Lte => Some("<="),
        CompareOpKind::Gt => Some(">"),
        CompareOpKind::Gte => Some(">="),
        CompareOpKind::In | CompareOpKind::NotIn => None,
    }
}

/// Whether an expression is visibly a text or a list.
fn is_repeated(expr: &Expr<'_>) -> bool {
    match expr {
        Expr::List(_) | Expr::Tuple(_) | Expr::Map(_) => true,
        Expr::Const(it) => it.value.as_str().is_some(),
        _ => false,
    }
}
