// Finds one's way in Markdown: its headings as data, and names for links to them.

import { config, plugin, PluginError, text } from './.cofferdam-sdk/cofferdam.js';
import { headings, slug } from './markdown.js';

const string = (description) => ({ type: 'string', description });

const outline = {
  name: 'outline',
  description: 'Lists the headings of a Markdown text with level, line and the slug of a link to them. Headings in code are none.',
  input: {
    type: 'object',
    properties: {
      text: string('The Markdown.'),
      depth: { type: 'integer', minimum: 1, maximum: 6, description: 'The deepest level that is listed; all without it.' },
    },
    required: ['text'],
    additionalProperties: false,
  },
  output: {
    type: 'object',
    properties: {
      headings: {
        type: 'array',
        items: {
          type: 'object',
          properties: {
            level: { type: 'integer' }, title: { type: 'string' }, line: { type: 'integer' }, slug: { type: 'string' },
          },
          required: ['level', 'title', 'line', 'slug'],
        },
      },
    },
    required: ['headings'],
  },
  readOnly: true,
  idempotent: true,
  examples: [{ text: '# One\n\n## Two' }],
  run({ text: markdown, depth = config().depth ?? 6 }) {
    return { headings: headings(markdown).filter((heading) => heading.level <= depth) };
  },
};

const contents = {
  name: 'contents',
  description: 'Writes a table of contents for a Markdown text: a nested list of links to its headings.',
  input: { type: 'object', properties: { text: string('The Markdown.') }, required: ['text'], additionalProperties: false },
  readOnly: true,
  idempotent: true,
  examples: [{ text: '# One\n\n## Two' }],
  run({ text: markdown }) {
    const found = headings(markdown);
    if (found.length === 0) throw new PluginError('not-found', 'the text has no headings', { code: 'no_headings' });
    const top = Math.min(...found.map((heading) => heading.level));
    return text(found.map(({ level, title, slug: to }) => `${'  '.repeat(level - top)}- [${title}](#${to})`).join('\n'));
  },
};

const slugify = {
  name: 'slug',
  description: 'Makes a name for links and files of a text: lower case letters and digits joined by `-`.',
  input: { type: 'object', properties: { text: string('Any text.') }, required: ['text'], additionalProperties: false },
  output: { type: 'object', properties: { slug: { type: 'string' } }, required: ['slug'] },
  readOnly: true,
  idempotent: true,
  examples: [{ text: 'Crème brûlée!' }],
  run: ({ text: given }) => ({ slug: slug(given) }),
};

export const { lifecycle, tool } = plugin({
  id: 'cofferdam/outline',
  summary: 'Headings of Markdown and links to them',
  configSchema: {
    type: 'object',
    properties: { depth: { type: 'integer', minimum: 1, maximum: 6, description: 'The deepest level unless a call says so.' } },
    additionalProperties: false,
  },
  tools: [outline, contents, slugify],
});
