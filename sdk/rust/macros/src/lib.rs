//! The macros of `cofferdam-sdk`, which re-exports and documents them.
//!
//! They only rewrite: what the result means is in the SDK's traits `Tool`,
//! `Transform`, `Condition` and `Plugin`. No macro looks at files or the environment.

mod plugin;
mod pure;
mod tool;

use proc_macro::TokenStream;
use syn::parse_macro_input;

/// Makes a function a tool.
///
/// The function takes `&Context` and, if it has arguments, one type that
/// implements `Deserialize` and `JsonSchema`; it returns `Result<T>` where `T`
/// implements `IntoOutput` (any `Serialize + JsonSchema` does). Its doc comment
/// is the description that a model reads. It stays an ordinary function.
///
/// Options, separated by commas:
///
/// * `read_only`, `idempotent`, `destructive`, `open_world`: what a call does to
///   the world; permissions depend on them, so state only what is true;
/// * `name = "..."`: the tool's name, by default that of the function;
/// * `title = "..."`: a short name for people;
/// * `example = "..."`: a JSON object of valid arguments, may be repeated.
#[proc_macro_attribute]
pub fn tool(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as tool::Options);
    let function = parse_macro_input!(item as syn::ItemFn);
    tool::expand(options, &function).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a function a transform.
///
/// The function takes `&PureContext`, `&Options` if it has options (a type that
/// implements `Deserialize` and `JsonSchema`), and an `Item`; it returns an
/// `Item`, an `Outcome`, or a `Result` of one of them. It is called for each item
/// of a batch. With `#[transform(batch)]` it takes all of them as `Vec<Item>` and
/// returns `Result<Vec<T>>`, one for each item and in the same order.
#[proc_macro_attribute]
pub fn transform(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as pure::TransformOptions);
    let function = parse_macro_input!(item as syn::ItemFn);
    pure::expand_transform(&options, &function).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a function a condition.
///
/// The function takes `&PureContext`, `&Options` if it has options (a type that
/// implements `Deserialize` and `JsonSchema`), and `&Value`, what an expression
/// could read; it returns `Result<Verdict>`. A condition that also chooses
/// between steps with labels names the function for it,
/// `#[condition(choose = pick)]`: that one takes `&[String]`, the labels, before
/// the view, and returns `Result<Option<usize>>`.
#[proc_macro_attribute]
pub fn condition(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as pure::ConditionOptions);
    let function = parse_macro_input!(item as syn::ItemFn);
    pure::expand_condition(&options, &function).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes the crate a plugin: a type `Plugin`, and in a component its exports.
///
/// ```text
/// cofferdam_sdk::plugin!(
///     id = "acme/text",
///     tools = [count_words],
///     transforms = [tidy],        // at most one
///     conditions = [has_words],   // at most one
///     summary = "Counts words",   // by default the crate's description
///     config = Config,            // a type with `JsonSchema`, if it takes one
/// );
/// ```
#[proc_macro]
pub fn plugin(input: TokenStream) -> TokenStream {
    let plugin = parse_macro_input!(input as plugin::Declaration);
    plugin::expand(&plugin).into()
}
