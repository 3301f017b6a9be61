//! `plugin!`: from lists of tools, transforms and conditions to an implementation of `Plugin` and, in a
//! component, the exports that the host calls.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, Ident, LitStr, Path, Result, Token, Type, bracketed};

/// What stands in the parentheses of the macro.
pub(crate) struct Declaration {
    id: LitStr,
    tools: Vec<Path>,
    transform: Option<Path>,
    condition: Option<Path>,
    /// The types that live as long as an instance, by the kind.
    warm: Vec<(Ident, Type)>,
    summary: Option<Expr>,
    config: Option<Type>,
}

impl Parse for Declaration {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let (mut id, mut tools, mut summary, mut config) = (None, Vec::new(), None, None);
        let (mut transform, mut condition, mut warm) = (None, None, Vec::new());
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            match key.to_string().as_str() {
                "id" => id = Some(checked_id(input.parse()?)?),
                "tools" => tools = paths(input)?,
                "transforms" => transform = only(input, "transform")?,
                "conditions" => condition = only(input, "condition")?,
                "sink" | "storage" | "model" | "recall" => warm.push((key, input.parse()?)),
                "summary" => summary = Some(input.parse()?),
                "config" => config = Some(input.parse()?),
                other => {
                    return Err(Error::new(
                        key.span(),
                        format!(
                            "unknown key `{other}`; there are id, tools, transforms, conditions, sink, storage, model, \
                             recall, summary, config"
                        ),
                    ));
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        let id = id.ok_or_else(|| input.error("a plugin needs `id = \"owner/name\"`"))?;
        if tools.is_empty() && transform.is_none() && condition.is_none() && warm.is_empty() {
            let message = "a plugin needs `tools = [...]`, `transforms = [...]`, `conditions = [...]`, `sink = ...`, \
                           `storage = ...`, `model = ...` or `recall = ...`, at least one";
            return Err(Error::new(id.span(), message));
        }
        Ok(Self { id, tools, transform, condition, warm, summary, config })
    }
}

/// The type `Plugin` and the exports.
pub(crate) fn expand(plugin: &Declaration) -> TokenStream {
    let Declaration { id, tools, summary, config, .. } = plugin;
    let kinds = kinds(plugin);
    let summary = summary.as_ref().map_or_else(|| quote!(env!("CARGO_PKG_DESCRIPTION")), |summary| quote!(#summary));
    let config =
        config.as_ref().map_or_else(|| quote!(None), |config| quote!(Some(::cofferdam_sdk::schema_of::<#config>())));
    quote! {
        /// This plugin, as the host sees it; tests can call it natively.
        #[derive(Clone, Copy, Debug)]
        pub struct Plugin;

        impl ::cofferdam_sdk::Plugin for Plugin {
            fn describe() -> ::cofferdam_sdk::Description {
                ::cofferdam_sdk::Description {
                    id: #id,
                    version: env!("CARGO_PKG_VERSION"),
                    summary: #summary,
                    config_schema: #config,
                }
            }

            fn tools() -> ::std::vec::Vec<::cofferdam_sdk::Definition> {
                ::std::vec![#(<#tools as ::cofferdam_sdk::Tool>::definition()),*]
            }

            fn call(
                ctx: &::cofferdam_sdk::Context,
                name: &str,
                args: &str,
            ) -> ::cofferdam_sdk::Result<::cofferdam_sdk::ToolOutput> {
                #(
                    if name == <#tools as ::cofferdam_sdk::Tool>::NAME {
                        return <#tools as ::cofferdam_sdk::Tool>::call(ctx, args);
                    }
                )*
                Err(::cofferdam_sdk::private::unknown_tool(
                    name,
                    &[#(<#tools as ::cofferdam_sdk::Tool>::NAME),*],
                ))
            }
        }

        #kinds
    }
}

/// What the plugin is, and its exports. A native library with these exports does not link.
fn kinds(plugin: &Declaration) -> TokenStream {
    let export = |name: &str, module: &str| {
        let (name, module) = (format_ident!("export_{name}"), format_ident!("{module}"));
        quote! {
            #[cfg(target_family = "wasm")]
            ::cofferdam_sdk::private::#name!(
                Plugin with_types_in ::cofferdam_sdk::private::bindings::#module
            );
        }
    };
    let mut all = export("lifecycle", "lifecycle");
    if !plugin.tools.is_empty() {
        all.extend(export("tool", "tool"));
    }
    if let Some(transform) = &plugin.transform {
        all.extend(quote! {
            impl ::cofferdam_sdk::TransformPlugin for Plugin {
                type Transform = #transform;
            }
        });
        all.extend(export("transform", "transform"));
    }
    if let Some(condition) = &plugin.condition {
        all.extend(quote! {
            impl ::cofferdam_sdk::ConditionPlugin for Plugin {
                type Condition = #condition;
            }
        });
        all.extend(export("condition", "condition"));
    }
    for (kind, of) in &plugin.warm {
        all.extend(warm(kind, of));
        all.extend(export(&kind.to_string(), &kind.to_string()));
    }
    all
}

/// The type behind a kind whose instance stays up; sinks and storages keep a value of it between calls.
fn warm(kind: &Ident, of: &Type) -> TokenStream {
    let (plugin, name) = match kind.to_string().as_str() {
        "sink" => (format_ident!("SinkPlugin"), format_ident!("Sink")),
        "storage" => (format_ident!("StoragePlugin"), format_ident!("Storage")),
        "model" => (format_ident!("ModelPlugin"), format_ident!("Model")),
        _ => (format_ident!("RecallPlugin"), format_ident!("Recall")),
    };
    let keeps = (kind == "sink" || kind == "storage").then(|| {
        quote! {
            fn with<R>(work: impl FnOnce(&mut Option<Self::#name>) -> R) -> R {
                ::std::thread_local! {
                    static OPEN: ::std::cell::RefCell<Option<#of>> = const { ::std::cell::RefCell::new(None) };
                }
                OPEN.with_borrow_mut(work)
            }
        }
    });
    quote! {
        impl ::cofferdam_sdk::#plugin for Plugin {
            type #name = #of;
            #keeps
        }
    }
}

/// A list of one: the contract has one transform and one condition a plugin, told apart by options.
fn only(input: ParseStream<'_>, what: &str) -> Result<Option<Path>> {
    let mut paths = paths(input)?;
    match paths.get(1) {
        Some(second) => {
            let message = format!("a plugin has one {what}; let its options say what it does, or make another plugin");
            Err(Error::new_spanned(second, message))
        }
        None => Ok(paths.pop()),
    }
}

fn paths(input: ParseStream<'_>) -> Result<Vec<Path>> {
    let content;
    bracketed!(content in input);
    Ok(Punctuated::<Path, Token![,]>::parse_terminated(&content)?.into_iter().collect())
}

/// `owner/name`: lower case letters, digits and `-` in both.
fn checked_id(id: LitStr) -> Result<LitStr> {
    let text = id.value();
    let word =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    match text.split_once('/') {
        Some((owner, name)) if word(owner) && word(name) => Ok(id),
        _ => Err(Error::new(id.span(), "an id is `owner/name` in lower case letters, digits and `-`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(declaration: TokenStream) -> String {
        syn::parse2::<Declaration>(declaration).err().unwrap().to_string()
    }

    #[test]
    fn a_plugin_needs_an_id_and_tools() {
        assert!(fault(quote!(tools = [a])).contains("needs `id"));
        assert!(fault(quote!(id = "acme/text")).contains("needs `tools"));
        let two = fault(quote!(id = "acme/text", transforms = [a, b]));
        assert!(two.contains("has one transform"), "{two}");
        assert!(fault(quote!(id = "text", tools = [a])).contains("`owner/name`"));
        assert!(fault(quote!(id = "Acme/text", tools = [a])).contains("lower case"));
        assert!(fault(quote!(name = "x")).contains("unknown key `name`"));
    }

    #[test]
    fn a_plugin_lists_every_tool() {
        let declared = syn::parse2(quote!(id = "acme/text", tools = [a, b::c])).unwrap();
        let text = expand(&declared).to_string();
        assert!(text.contains("b :: c"), "{text}");
    }
}
