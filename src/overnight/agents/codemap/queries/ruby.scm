(method name: [(identifier) (constant) (setter) (operator)] @name) @method
(singleton_method name: [(identifier) (constant) (setter) (operator)] @name) @method
(class name: [(constant) @name (scope_resolution name: (constant) @name)]) @class
(module name: [(constant) @name (scope_resolution name: (constant) @name)]) @module
(assignment left: (constant) @name) @constant

(call method: (identifier) @ref)
(constant) @ref
