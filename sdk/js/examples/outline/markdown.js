// Headings of Markdown, and names made of them. It must not know plugins, so that node can test it.

const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$/;
const UNDERLINE = /^ {0,3}(=+|-+)[ \t]*$/;

// Signs of ASCII, Latin-1, and the blocks of punctuation, arrows and symbols. The engine knows no `\p{L}`.
const SIGNS = /[\s\u0000-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00bf\u00d7\u00f7\u2000-\u206f\u2190-\u2bff\u3000-\u303f\uff01-\uff0f]+/;

/** Letters and digits of any script in lower case, joined by `-`. */
export function slug(text) {
  return text.toLowerCase().split(SIGNS).filter(Boolean).join('-');
}

/** All headings with level, line and a slug that no other heading of the text has. */
export function headings(text) {
  const found = [];
  const used = new Map();
  let fence;
  let above = '';
  text.split(/\r?\n/).forEach((line, index) => {
    const mark = FENCE.exec(line)?.[1];
    if (fence !== undefined) {
      if (mark?.startsWith(fence) && line.trim() === mark) fence = undefined;
      return;
    }
    if (mark !== undefined) {
      fence = mark;
      above = '';
      return;
    }
    const heading = HEADING.exec(line);
    const underline = above.trim() === '' ? null : UNDERLINE.exec(line);
    if (heading !== null) found.push(entry(heading[1].length, heading[2] ?? '', index + 1, used));
    else if (underline !== null) found.push(entry(underline[1][0] === '=' ? 1 : 2, above, index, used));
    above = heading === null && underline === null ? line : '';
  });
  return found;
}

function entry(level, title, line, used) {
  const plain = title.trim().replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1').replace(/[*_`]/g, '');
  const base = slug(plain) || 'section';
  const before = used.get(base) ?? 0;
  used.set(base, before + 1);
  return { level, title: plain, line, slug: before === 0 ? base : `${base}-${before}` };
}
