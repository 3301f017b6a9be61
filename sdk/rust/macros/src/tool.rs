//! `#[tool]`: from a function to an implementation of `Tool`. Checks what can be
//! checked without types; the compiler checks the rest at the function itself.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Attribute, Error, Expr, ExprLit, FnArg, Ident, ItemFn, Lit, LitStr, Meta, Result};
use syn::{ReturnType, Token, Type};

/// What stands in the parentheses of the attribute.
#[derive(Default)]
pub(crate) struct Options {
    effects: Vec<Ident>,
    name: Option<LitStr>,
    title: Option<LitStr>,
    examples: Vec<LitStr>,
}

const EFFECTS: [&str; 4] = ["read_only", "destructive", "idempotent", "open_world"];

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            match key.to_string().as_str() {
                known if EFFECTS.contains(&known) => options.effects.push(key),
                "name" => options.name = Some(checked_name(value(input)?)?),
                "title" => options.title = Some(value(input)?),
                "example" => options.examples.push(value(input)?),
                other => {
                    return Err(Error::new(
                        key.span(),
                        format!("unknown option `{other}`; there are {}, name, title, example", EFFECTS.join(", ")),
                    ));
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        options.check_effects()?;
        Ok(options)
    }
}

impl Options {
    fn has(&self, effect: &str) -> bool {
        self.effects.iter().any(|given| given == effect)
    }

    fn check_effects(&self) -> Result<()> {
        match self.effects.iter().find(|given| *given == "destructive") {
            Some(given) if self.has("read_only") => {
                Err(Error::new(given.span(), "a tool that is read_only destroys nothing"))
            }
            _ => Ok(()),
        }
    }
}

/// The implementation of `Tool` beside the unchanged function.
pub(crate) fn expand(options: Options, function: &ItemFn) -> Result<TokenStream> {
    let description = description(function)?;
    let call = call(function)?;
    let ident = &function.sig.ident;
    let visibility = &function.vis;
    let output = output_type(function)?;
    let arguments = argument_type(function)
        .map_or_else(|| quote!(::cofferdam_sdk::private::NoArguments), |argument| quote!(#argument));
    let [read_only, destructive, idempotent, open_world] = EFFECTS.map(|effect| options.has(effect));
    let Options { name, title, examples, .. } = options;
    let name = name.unwrap_or_else(|| LitStr::new(&ident.to_string(), ident.span()));
    let title = title.map_or_else(|| quote!(None), |title| quote!(Some(#title)));
    let doc = format!("The tool `{}`, for `plugin!`.", name.value());

    // A struct with braces lives among the types only, so it can share the name
    // of the function, and `plugin!` can be given that one name.
    Ok(quote! {
        #[allow(clippy::needless_pass_by_value, reason = "a tool owns its arguments")]
        #function

        #[doc = #doc]
        #[expect(non_camel_case_types, reason = "shares the name of the function")]
        #visibility struct #ident {}

        impl ::cofferdam_sdk::Tool for #ident {
            const NAME: &'static str = #name;

            fn definition() -> ::cofferdam_sdk::Definition {
                ::cofferdam_sdk::Definition {
                    name: #name,
                    title: #title,
                    description: #description,
                    input_schema: ::cofferdam_sdk::schema_of::<#arguments>(),
                    output_schema: <#output as ::cofferdam_sdk::private::Returned>::output_schema(),
                    effects: ::cofferdam_sdk::Effects {
                        read_only: #read_only,
                        destructive: #destructive,
                        idempotent: #idempotent,
                        open_world: #open_world,
                    },
                    examples: &[#(#examples),*],
                }
            }

            fn call(
                ctx: &::cofferdam_sdk::Context,
                args: &str,
            ) -> ::cofferdam_sdk::Result<::cofferdam_sdk::ToolOutput> {
                let args: #arguments = ::cofferdam_sdk::private::decode(args)?;
                ::cofferdam_sdk::private::Returned::into_output(#call)
            }
        }
    })
}

/// The doc comment, with the one leading space that people write removed.
fn description(function: &ItemFn) -> Result<String> {
    let lines: Vec<String> = function.attrs.iter().filter_map(doc_line).collect();
    let text = lines.join("\n").trim().to_owned();
    if text.is_empty() {
        return Err(Error::new(
            function.sig.ident.span(),
            "a tool needs a doc comment: it is the description that a model decides by",
        ));
    }
    Ok(text)
}

fn doc_line(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(meta) = &attribute.meta else {
        return None;
    };
    if !meta.path.is_ident("doc") {
        return None;
    }
    let Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) = &meta.value else {
        return None;
    };
    let line = line.value();
    Some(line.strip_prefix(' ').unwrap_or(&line).to_owned())
}

/// The call of the function; also where its shape is checked.
fn call(function: &ItemFn) -> Result<TokenStream> {
    let signature = &function.sig;
    if let Some(keyword) = &signature.asyncness {
        return Err(Error::new(keyword.span(), "a tool cannot be async: host calls block"));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new(signature.generics.span(), "a tool cannot be generic"));
    }
    let ident = &signature.ident;
    match signature.inputs.len() {
        1 => Ok(quote_spanned!(ident.span()=> { let _ = args; #ident(ctx) })),
        2 => Ok(quote_spanned!(ident.span()=> #ident(ctx, args))),
        _ => Err(Error::new(
            signature.inputs.span(),
            "a tool takes `&Context` and at most one type with all its arguments",
        )),
    }
}

fn argument_type(function: &ItemFn) -> Option<&Type> {
    match function.sig.inputs.get(1)? {
        FnArg::Typed(argument) => Some(&argument.ty),
        FnArg::Receiver(_) => None,
    }
}

fn output_type(function: &ItemFn) -> Result<&Type> {
    match &function.sig.output {
        ReturnType::Type(_, output) => Ok(output),
        ReturnType::Default => Err(Error::new(
            function.sig.ident.span(),
            "a tool returns `Result<T>`; where there is nothing to say, `Result<()>`",
        )),
    }
}

fn value(input: ParseStream<'_>) -> Result<LitStr> {
    input.parse::<Token![=]>()?;
    input.parse()
}

/// The contract allows letters, digits, `_` and `-`, at most 64.
fn checked_name(name: LitStr) -> Result<LitStr> {
    let text = name.value();
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if text.is_empty() || text.len() > 64 || !text.chars().all(allowed) {
        return Err(Error::new(name.span(), "a tool's name has 1 to 64 letters, digits, `_` and `-`"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    fn fault(options: TokenStream, function: &ItemFn) -> String {
        syn::parse2::<Options>(options).and_then(|options| expand(options, function)).unwrap_err().to_string()
    }

    #[test]
    fn a_function_without_a_doc_comment_is_refused() {
        let function = parse_quote!(
            fn f(ctx: &Context) -> Result<()> {}
        );
        assert!(fault(quote!(), &function).contains("needs a doc comment"));
    }

    #[test]
    fn an_unknown_option_is_refused_with_the_known_ones() {
        let function = parse_quote!(
            /// Does.
            fn f(ctx: &Context) -> Result<()> {}
        );
        assert!(fault(quote!(readonly), &function).contains("read_only, destructive"));
        assert!(fault(quote!(read_only, destructive), &function).contains("destroys nothing"));
        assert!(fault(quote!(name = "a b"), &function).contains("1 to 64"));
    }

    #[test]
    fn a_function_of_another_shape_is_refused() {
        let function = parse_quote!(
            /// Does.
            async fn f(ctx: &Context) -> Result<()> {}
        );
        assert!(fault(quote!(), &function).contains("cannot be async"));
        let function = parse_quote!(
            /// Does.
            fn f(ctx: &Context, a: u8, b: u8) -> Result<()> {}
        );
        assert!(fault(quote!(), &function).contains("at most one type"));
        let function = parse_quote!(
            /// Does.
            fn f(ctx: &Context) {}
        );
        assert!(fault(quote!(), &function).contains("returns `Result<T>`"));
    }

    #[test]
    fn a_description_keeps_its_lines() {
        let function = parse_quote!(
            /// First.
            ///
            ///   Indented.
            fn f(ctx: &Context) -> Result<()> {}
        );
        assert_eq!(description(&function).unwrap(), "First.\n\n  Indented.");
    }
}
