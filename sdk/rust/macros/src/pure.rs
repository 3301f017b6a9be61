//! `#[transform]` and `#[condition]`: from functions to implementations of the traits of these names.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Error, FnArg, Ident, ItemFn, Path, Result, ReturnType, Token, Type};

/// What stands in the parentheses of `#[transform]`.
pub(crate) struct TransformOptions {
    batch: bool,
}

impl Parse for TransformOptions {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.is_empty() {
            return Ok(Self { batch: false });
        }
        let key: Ident = input.parse()?;
        if key != "batch" {
            return Err(Error::new(key.span(), format!("unknown option `{key}`; there is batch")));
        }
        Ok(Self { batch: true })
    }
}

/// What stands in the parentheses of `#[condition]`.
pub(crate) struct ConditionOptions {
    choose: Option<Path>,
}

impl Parse for ConditionOptions {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.is_empty() {
            return Ok(Self { choose: None });
        }
        let key: Ident = input.parse()?;
        if key != "choose" {
            return Err(Error::new(key.span(), format!("unknown option `{key}`; there is choose = FUNCTION")));
        }
        input.parse::<Token![=]>()?;
        Ok(Self { choose: Some(input.parse()?) })
    }
}

/// The implementation of `Transform` beside the unchanged function.
pub(crate) fn expand_transform(options: &TransformOptions, function: &ItemFn) -> Result<TokenStream> {
    let shape = Shape::of(function, "transform", "`Item`, or `Vec<Item>` with `batch`")?;
    let (ident, schema, decoded) = (&function.sig.ident, shape.schema(), shape.options_type());
    let given = shape.given();
    let call = if options.batch {
        quote!(::cofferdam_sdk::private::all(items, |items| #ident(ctx #given, items)))
    } else {
        quote!(::cofferdam_sdk::private::each(items, |item| #ident(ctx #given, item)))
    };
    let shared = shape.shared(function, "transform");
    Ok(quote! {
        #shared

        impl ::cofferdam_sdk::Transform for #ident {
            #schema

            fn apply(
                ctx: &::cofferdam_sdk::PureContext,
                options: &str,
                items: ::std::vec::Vec<::cofferdam_sdk::Item>,
            ) -> ::std::vec::Vec<::cofferdam_sdk::Outcome> {
                let _options: #decoded = match ::cofferdam_sdk::private::options(options) {
                    Ok(options) => options,
                    Err(error) => return ::cofferdam_sdk::private::refuse(&error, &items),
                };
                #call
            }
        }
    })
}

/// The implementation of `Condition` beside the unchanged function.
pub(crate) fn expand_condition(options: &ConditionOptions, function: &ItemFn) -> Result<TokenStream> {
    let shape = Shape::of(function, "condition", "`&Value`")?;
    let (ident, schema, decoded) = (&function.sig.ident, shape.schema(), shape.options_type());
    let given = shape.given();
    let choose = match &options.choose {
        Some(choose) => quote! {
            let _options: #decoded = ::cofferdam_sdk::private::options(options)?;
            #choose(ctx #given, &labels, &::cofferdam_sdk::private::view(view)?)
        },
        None => quote! {
            let _ = (ctx, options, labels, view);
            ::cofferdam_sdk::private::no_choice()
        },
    };
    let shared = shape.shared(function, "condition");
    Ok(quote! {
        #shared

        impl ::cofferdam_sdk::Condition for #ident {
            #schema

            fn decide(
                ctx: &::cofferdam_sdk::PureContext,
                options: &str,
                view: &str,
            ) -> ::cofferdam_sdk::Result<::cofferdam_sdk::Verdict> {
                let _options: #decoded = ::cofferdam_sdk::private::options(options)?;
                #ident(ctx #given, &::cofferdam_sdk::private::view(view)?)
            }

            fn choose(
                ctx: &::cofferdam_sdk::PureContext,
                options: &str,
                labels: ::std::vec::Vec<::std::string::String>,
                view: &str,
            ) -> ::cofferdam_sdk::Result<::core::option::Option<usize>> {
                #choose
            }
        }
    })
}

/// Which of the two forms a function has.
struct Shape<'f> {
    /// The type of its options, without the reference.
    options: Option<&'f Type>,
}

impl<'f> Shape<'f> {
    fn of(function: &'f ItemFn, what: &str, last: &str) -> Result<Self> {
        let signature = &function.sig;
        if let Some(keyword) = &signature.asyncness {
            return Err(Error::new(keyword.span(), format!("a {what} cannot be async")));
        }
        if !signature.generics.params.is_empty() {
            return Err(Error::new(signature.generics.span(), format!("a {what} cannot be generic")));
        }
        if matches!(signature.output, ReturnType::Default) {
            return Err(Error::new(signature.ident.span(), format!("a {what} returns something")));
        }
        let options = match signature.inputs.len() {
            2 => None,
            3 => signature.inputs.get(1).map(options_type).transpose()?,
            _ => {
                let message = format!("a {what} takes `&PureContext`, `&Options` if it has options, and {last}");
                return Err(Error::new(signature.inputs.span(), message));
            }
        };
        Ok(Self { options })
    }

    fn options_type(&self) -> TokenStream {
        match self.options {
            Some(options) => quote!(#options),
            None => quote!(::cofferdam_sdk::private::NoOptions),
        }
    }

    fn schema(&self) -> TokenStream {
        let schema = match self.options {
            Some(options) => quote!(::cofferdam_sdk::private::options_schema::<#options>()),
            None => quote!(None),
        };
        quote! {
            fn options_schema() -> ::core::option::Option<::cofferdam_sdk::private::Value> {
                #schema
            }
        }
    }

    /// The options as an argument.
    fn given(&self) -> TokenStream {
        if self.options.is_some() { quote!(, &_options) } else { TokenStream::new() }
    }

    /// The function as it is, and the type that stands for it.
    fn shared(&self, function: &ItemFn, what: &str) -> TokenStream {
        let ident = &function.sig.ident;
        let doc = format!("The {what} `{ident}`, for `plugin!`.");
        quote! {
            #[allow(clippy::needless_pass_by_value, clippy::unnecessary_wraps, reason = "the shape is given")]
            #function

            #[doc = #doc]
            #[allow(non_camel_case_types, unreachable_pub, reason = "shares the name of the function; the plugin names it")]
            pub struct #ident {}
        }
    }
}

fn options_type(argument: &FnArg) -> Result<&Type> {
    match argument {
        FnArg::Typed(argument) => match &*argument.ty {
            Type::Reference(reference) => Ok(&reference.elem),
            other => Err(Error::new(other.span(), "options are taken by reference: `&Options`")),
        },
        FnArg::Receiver(receiver) => Err(Error::new(receiver.span(), "a plain function is needed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    #[test]
    fn a_function_of_another_shape_is_refused() {
        let fault =
            |function: ItemFn| expand_transform(&TransformOptions { batch: false }, &function).unwrap_err().to_string();
        assert!(
            fault(parse_quote!(
                fn f(ctx: &PureContext) -> Item {}
            ))
            .contains("takes `&PureContext`")
        );
        assert!(
            fault(parse_quote!(
                async fn f(ctx: &PureContext, item: Item) -> Item {}
            ))
            .contains("async")
        );
        assert!(
            fault(parse_quote!(
                fn f(ctx: &PureContext, item: Item) {}
            ))
            .contains("returns")
        );
        let by_value = parse_quote!(
            fn f(ctx: &PureContext, options: Options, item: Item) -> Item {}
        );
        assert!(fault(by_value).contains("by reference"));
    }

    #[test]
    fn unknown_options_are_refused() {
        assert!(syn::parse2::<TransformOptions>(quote!(all)).err().unwrap().to_string().contains("there is batch"));
        assert!(syn::parse2::<ConditionOptions>(quote!(pick)).err().unwrap().to_string().contains("choose"));
    }
}
