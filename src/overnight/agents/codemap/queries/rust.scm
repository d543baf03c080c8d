(function_item name: (identifier) @name) @function
(function_signature_item name: (identifier) @name) @function
(struct_item name: (type_identifier) @name) @struct
(enum_item name: (type_identifier) @name) @enum
(union_item name: (type_identifier) @name) @struct
(trait_item name: (type_identifier) @name) @interface
(type_item name: (type_identifier) @name) @type
(const_item name: (identifier) @name) @constant
(static_item name: (identifier) @name) @constant
(macro_definition name: (identifier) @name) @macro
(mod_item name: (identifier) @name body: (_)) @module
(impl_item type: (type_identifier) @name) @scope
(impl_item type: (generic_type type: (type_identifier) @name)) @scope

(call_expression function: [(identifier) @ref
  (scoped_identifier name: (identifier) @ref)
  (field_expression field: (field_identifier) @ref)
  (generic_function function: (identifier) @ref)
  (generic_function function: (scoped_identifier name: (identifier) @ref))
  (generic_function function: (field_expression field: (field_identifier) @ref))])
(macro_invocation macro: [(identifier) @ref (scoped_identifier name: (identifier) @ref)])
(type_identifier) @ref
(use_declaration argument: (scoped_identifier name: (identifier) @ref))
(use_list [(identifier) @ref (scoped_identifier name: (identifier) @ref)])
