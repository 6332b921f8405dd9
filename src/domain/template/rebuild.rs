//! Rebuilds what was parsed so that every value it makes is charged for ([`super::budget`]).
//!
//! What an operator, a slice or a list puts into a new value goes through a filter that charges
//! for it; text between expressions is printed as a value is; statements and calls whose size
//! nothing can tell beforehand are refused. Rebuilt before it is compiled, because the compiler
//! computes what is constant.

use std::collections::BTreeSet;

use minijinja::{
    Value,
    machinery::{
        Span,
        ast::{
            BinOp, BinOpKind, Call, CallArg, Compare, CompareOp, Const, EmitExpr, Expr, Filter,
            ForLoop, GetAttr, GetItem, IfCond, IfExpr, List, Map, Set, Slice, Spanned, Stmt,
            Template, Test, Tuple, UnaryOp, UnaryOpKind, Var,
        },
    },
};

use super::{
    TemplateError,
    builtins::{CHARGED, CHARGED_TEXT, FILTERS, FUNCTIONS, PRODUCT, TESTS},
};

/// Rebuilds what was parsed, and notes the names that it asks for.
#[derive(Default)]
pub(super) struct Rebuild<'source> {
    /// Names that the text itself gives a value, by block.
    declared: Vec<Vec<&'source str>>,
    names: BTreeSet<String>,
}

impl<'source> Rebuild<'source> {
    /// The names that it asks for, sorted.
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
            // Printed as a value is, so that what a loop repeats is charged each time.
            Stmt::EmitRaw(it) => {
                let value = Value::from(it.raw);
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

    /// What a loop or a `set` gives values to: names, or tuples of them.
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

    /// An expression whose value is put into a new one.
    fn charged(
        &mut self,
        expr: &Expr<'source>,
        name: &'static str,
    ) -> Result<Expr<'source>, TemplateError> {
        let rebuilt = self.expr(expr)?;
        // Charged in loops, too, but not what can be no larger than the source.
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
                let expr = self.expr(&it.expr)?;
                Expr::UnaryOp(Spanned::new(UnaryOp { op, expr }, span))
            }
            Expr::BinOp(it) => self.operation(it, span)?,
            Expr::Compare(it) => {
                let expr = self.expr(&it.expr)?;
                let mut ops = Vec::with_capacity(it.ops.len());
                for step in &it.ops {
                    let expr = self.expr(&step.expr)?;
                    ops.push(CompareOp { op: step.op, expr });
                }
                Expr::Compare(Spanned::new(Compare { expr, ops }, span))
            }
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

/// What is seen to be a text or a list without running it.
fn is_repeated(expr: &Expr<'_>) -> bool {
    match expr {
        Expr::List(_) | Expr::Tuple(_) | Expr::Map(_) => true,
        Expr::Const(it) => it.value.as_str().is_some(),
        _ => false,
    }
}
