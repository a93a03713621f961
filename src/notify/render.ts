/** A message as the channels carry it. Pure. */
import type { Message } from './outbox.ts'

/** Plain text, one paragraph a line: mail programs wrap for the width they have. */
export function toText(message: Message): string {
  const { happened, facts, means, act, link } = message
  const parts = [
    happened,
    facts.map(([label, value]) => `${label}: ${value}`).join('\n'),
    means,
    act.length > 0 ? `What to do:\n${act.map(step => `- ${step}`).join('\n')}` : '',
    link ?? '',
  ]
  return `${parts.filter(part => part !== '').join('\n\n')}\n`
}

/** The same as simple HTML: no pictures, no styles that a mail program would drop. */
export function toHtml(message: Message): string {
  const { happened, facts, means, act, link } = message
  const rows = facts.map(
    ([label, value]) =>
      `<tr><td style="padding-right:1em;vertical-align:top;color:#666">${escaped(label)}</td><td>${escaped(value)}</td></tr>`,
  )
  return [
    '<!doctype html>',
    '<html lang="en"><body style="font-family:sans-serif">',
    `<p><strong>${escaped(happened)}</strong></p>`,
    rows.length > 0 ? `<table>${rows.join('')}</table>` : '',
    `<p>${escaped(means)}</p>`,
    act.length > 0
      ? `<p>What to do:</p><ul>${act.map(step => `<li>${escaped(step)}</li>`).join('')}</ul>`
      : '',
    link === null ? '' : `<p><a href="${escaped(link)}">${escaped(link)}</a></p>`,
    '</body></html>',
    '',
  ]
    .filter((line, at, all) => line !== '' || at === all.length - 1)
    .join('\n')
}

const entities: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, sign => entities[sign]!)
}
