(class_specifier name: (type_identifier) @name body: (_)) @class
(namespace_definition name: (namespace_identifier) @name) @scope
(function_declarator declarator: (field_identifier) @name) @method
(function_definition declarator: (function_declarator declarator: (qualified_identifier name: [(identifier) (destructor_name) (operator_name)] @name))) @method
(function_definition declarator: (pointer_declarator declarator: (function_declarator declarator: (qualified_identifier name: (identifier) @name)))) @method
(function_definition declarator: (reference_declarator (function_declarator declarator: [(identifier) @name (qualified_identifier name: (identifier) @name)]))) @method
(alias_declaration name: (type_identifier) @name) @type
(concept_definition name: (identifier) @name) @type

(call_expression function: [(qualified_identifier name: (identifier) @ref)
  (template_function name: (identifier) @ref)
  (qualified_identifier name: (template_function name: (identifier) @ref))])
