// A tool: what models and steps call. The calls of one step share an instance; every other step has its own.

import { plugin } from './.cofferdam-sdk/cofferdam.js';

const count = {
  name: 'count',
  // All that a model reads about the tool.
  description: 'Counts the words of a text.',
  // What does not fit never arrives.
  input: {
    type: 'object',
    properties: { text: { type: 'string', description: 'The text to count in.' } },
    required: ['text'],
    additionalProperties: false,
  },
  output: { type: 'object', properties: { words: { type: 'integer' } }, required: ['words'] },
  readOnly: true,
  idempotent: true,
  examples: [{ text: 'two words' }],
  run({ text }) {
    return { words: text.split(/\s+/).filter(Boolean).length };
  },
};

export const { lifecycle, tool } = plugin({ id: 'acme/__NAME__', summary: 'Counts words', tools: [count] });
