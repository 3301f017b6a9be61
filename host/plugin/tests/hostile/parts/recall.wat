;; What a retrieval memory has besides: it takes everything and finds nothing, and attacks with what its space names. The
;; empty space is left in peace.

;;;; cofferdam:recall/recall@0.1.0#upsert
(func (export "cofferdam:recall/recall@0.1.0#upsert")
  (param i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32) (param $args i32) (param $len i32) (param i32 i32) (result i32)
  (if (i32.eqz (local.get $len)) (then (return (i32.const 60000))))
  (call $attack (local.get $args) (local.get $len)))

;;;; cofferdam:recall/recall@0.1.0#search
(func (export "cofferdam:recall/recall@0.1.0#search") (param i32) (result i32) (i32.const 60000))

;;;; cofferdam:recall/recall@0.1.0#forget
(func (export "cofferdam:recall/recall@0.1.0#forget")
  (param i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 60000))

;;;; $attack
(func $attack (param $args i32) (param $len i32) (result i32) (i32.const 60000))
