//! Plain facts of the API and the resource that answer a request, as variables and events show them.

/// An API at its stage.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// `$context.apiId`.
    pub api_id: Box<str>,
    /// The document's title.
    pub api_name: Box<str>,
    /// `$context.stage`.
    pub stage: Box<str>,
    /// `$context.accountId`.
    pub account_id: Box<str>,
    /// The region in ARNs.
    pub region: Box<str>,
    /// `$context.deploymentId`.
    pub deployment_id: Box<str>,
    /// `REGIONAL`, `EDGE` or `PRIVATE`.
    pub endpoint_type: &'static str,
    /// Where the API is mounted, without a trailing slash; empty at the root.
    pub base_path: Box<str>,
    /// Whether host names of its own lead to it (a custom domain), rather than any.
    pub has_own_domain: bool,
    /// Names and values, sorted by name.
    pub stage_variables: Vec<(Box<str>, Box<str>)>,
}

impl Site {
    /// The value of a stage variable.
    pub fn stage_variable(&self, name: &str) -> Option<&str> {
        let at = self
            .stage_variables
            .binary_search_by(|(key, _)| (**key).cmp(name))
            .ok()?;
        self.stage_variables.get(at).map(|(_, value)| &**value)
    }
}

/// A method of a resource.
#[derive(Clone, Debug, Default)]
pub struct Resource {
    /// `$context.resourceId`.
    pub id: Box<str>,
    /// The path template, `$context.resourcePath`.
    pub path: Box<str>,
    /// Names of the template's variables from left to right, without braces and `+`.
    pub parameters: Vec<Box<str>>,
    /// `operationId`.
    pub operation_name: Option<Box<str>>,
}
