;; What a tool has besides: it lists one, and attacks when that is called.

;;;; cofferdam:tool/tool@0.1.0#list-tools
(func $list (export "cofferdam:tool/tool@0.1.0#list-tools") (result i32) (i32.const 192))

;;;; cofferdam:tool/tool@0.1.0#call
(func (export "cofferdam:tool/tool@0.1.0#call")
  (param i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32) (param $args i32) (param $len i32) (result i32)
  (call $attack (local.get $args) (local.get $len)))

;;;; $attack
;; The honest one gives back its arguments.
(func $attack (param $args i32) (param $len i32) (result i32)
  (i32.store (i32.const 332) (local.get $args))
  (i32.store (i32.const 336) (local.get $len))
  (i32.const 320))
