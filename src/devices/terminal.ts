/**
 * What a person would see of the bytes that a device sends to a terminal: escapes removed,
 * overwritten text gone (pagers wipe themselves out with backspaces or carriage returns).
 */

const escapes =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is to be removed
  /\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]{0,1024}(?:\x07|\x1b\\)|\x1b[=>78cDHM]|\x1b\([AB012]/g
/** Huawei pads with a blank before it moves left: the two belong together. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: as above
const paddedLeft = / \x1b\[\d*D/g
// biome-ignore lint/suspicious/noControlCharactersInRegex: these print nothing
const silent = /[\x00\x07]/g
// biome-ignore lint/suspicious/noControlCharactersInRegex: a text without them needs no work
const special = /[\x08\r\x1b\x00\x07]/

/** Lines end in `\n` alone afterwards; blanks at the end of a line are kept, they may be meant. */
export function cleanTerminal(raw: string): string {
  if (!special.test(raw)) return raw
  return raw
    .replace(paddedLeft, '')
    .replaceAll('\x1bE', '\n')
    .replace(escapes, '')
    .replace(silent, '')
    .replace(/\r+\n/g, '\n')
    .split('\n')
    .map(visibleLine)
    .join('\n')
}

/** The last line as it stands, which a prompt, a pager or a question is waiting on. */
export function lastLine(raw: string): string {
  const tail = raw.slice(-longestQuestion)
  const from = tail.lastIndexOf('\n')
  return cleanTerminal(tail.slice(from + 1))
}

/** Longer than any prompt with what a pager leaves before it. */
const longestQuestion = 4096

function visibleLine(line: string): string {
  // A line that is still being written may end in the carriage return of its own end.
  const ended = line.replace(/\r+$/, '')
  const text = ended.slice(ended.lastIndexOf('\r') + 1)
  if (!text.includes('\b')) return text
  const cells: string[] = []
  let cursor = 0
  for (const char of text) {
    if (char === '\b') cursor = Math.max(0, cursor - 1)
    else cells[cursor++] = char
  }
  const right = cells.slice(cursor).join('')
  return cells.slice(0, cursor).join('') + (right.trim() === '' ? '' : right)
}
