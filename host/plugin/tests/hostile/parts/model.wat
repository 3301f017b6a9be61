;; What a model has besides: none in its list, and an answer that is over at once.

;;;; cofferdam:model/model@0.1.0#list-models
(func (export "cofferdam:model/model@0.1.0#list-models") (result i32) (i32.const 60000))

;;;; cofferdam:model/model@0.1.0#complete
(import "[export]cofferdam:model/model@0.1.0" "[resource-new]completion" (func $completion (param i32) (result i32)))
(func (export "cofferdam:model/model@0.1.0#complete") (param i32) (result i32)
  (i32.store (i32.const 664) (i32.const 0))
  (i32.store (i32.const 672) (call $completion (i32.const 7)))
  (i32.const 664))

;;;; cofferdam:model/model@0.1.0#[method]completion.next
;; ok([finished(stop)])
(data (i32.const 704) "\00\00\00\00\00\00\00\00" "\e0\02\00\00" "\01\00\00\00")
(data (i32.const 736) "\05\00\00\00\00\00\00\00" "\00")
(func (export "cofferdam:model/model@0.1.0#[method]completion.next") (param i32) (result i32) (i32.const 704))

;;;; cofferdam:model/model@0.1.0#[dtor]completion
(func (export "cofferdam:model/model@0.1.0#[dtor]completion") (param i32))
