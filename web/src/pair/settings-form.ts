/** What is typed into the form of the pair's settings, and the settings that it means. Pure. */
import type { PairSettings } from '../../../src/api/contract/setup.ts'
import { isIpv4, isIpv6, prefixOf } from './netmask.ts'

type Connection = PairSettings['connection']
type Mail = NonNullable<PairSettings['mail']>
export type Secret = 'smtpPassword' | 'tsigSecret' | 'webhookSecret'

export interface Fields {
  secondary: string
  sharedFolder: string
  type: Connection['type']
  /** At least one row; empty ones do not count. */
  addresses: { address: string; prefix: string }[]
  name: string
  zone: string
  server: string
  ttl: string
  tsigName: string
  tsigAlgorithm: 'hmac-sha256' | 'hmac-sha384' | 'hmac-sha512'
  /** Separated by commas. */
  recipients: string
  from: string
  host: string
  port: string
  security: Mail['security']
  user: string
  classes: Mail['classes']
  webhook: string
  /** Empty: stays as it is; null: is removed. */
  secrets: { [Name in Secret]: string | null }
}

/** What would be right, by field: `addresses.0.prefix`. */
export type Errors = Record<string, string>

export const mailClasses: { value: Mail['classes'][number]; label: string }[] = [
  { value: 'self-monitoring', label: 'Self-monitoring: disk, memory, database, standby away' },
  { value: 'synchronization', label: 'Data synchronization' },
  { value: 'takeover', label: 'Takeover by the other server' },
]

export function fieldsOf(settings: PairSettings): Fields {
  const { connection, mail } = settings
  const name = connection.type === 'virtual-name' ? connection : undefined
  const typed =
    connection.type === 'virtual-ip'
      ? connection.addresses.map(({ address, prefix }) => ({ address, prefix: String(prefix) }))
      : []
  return {
    secondary: settings.secondary ?? '',
    sharedFolder: settings.sharedFolder ?? '',
    type: connection.type,
    addresses: typed.length > 0 ? typed : [{ address: '', prefix: '' }],
    name: name?.name ?? '',
    zone: name?.zone ?? '',
    server: name?.server ?? '',
    ttl: String(name?.ttl ?? 30),
    tsigName: name?.tsig?.name ?? '',
    tsigAlgorithm: name?.tsig?.algorithm ?? 'hmac-sha256',
    recipients: mail?.recipients.join(', ') ?? '',
    from: mail?.from ?? '',
    host: mail?.host ?? '',
    port: String(mail?.port ?? 25),
    security: mail?.security ?? 'opportunistic',
    user: mail?.user ?? '',
    classes: mail?.classes ?? mailClasses.map(({ value }) => value),
    webhook: settings.webhook ?? '',
    secrets: { smtpPassword: '', tsigSecret: '', webhookSecret: '' },
  }
}

/**
 * @param kept which secrets the server has
 * @returns settings and the secrets that change, or what would be right
 */
export function settingsOf(
  fields: Fields,
  kept: Record<Secret, boolean>,
):
  | { errors?: never; settings: PairSettings; secrets: { [Name in Secret]?: string | null } }
  | { errors: Errors } {
  const errors: Errors = {}
  const settings: PairSettings = {
    secondary: hostIn(fields.secondary, 'secondary', errors) ?? null,
    sharedFolder: folderIn(fields.sharedFolder, errors),
    connection: connectionIn(fields, kept, errors),
    mail: mailIn(fields, errors),
    webhook: webhookIn(fields.webhook, errors),
  }
  const secrets: { [Name in Secret]?: string | null } = {}
  for (const [name, value] of Object.entries(fields.secrets) as [Secret, string | null][]) {
    if (value !== '') secrets[name] = value
  }
  if (secrets.tsigSecret && !/^[A-Za-z0-9+/]+={0,2}$/.test(secrets.tsigSecret)) {
    errors['secrets.tsigSecret'] = "Base64, as in the name server's key file"
  }
  return Object.keys(errors).length > 0 ? { errors } : { settings, secrets }
}

/** Labels of a host name, or an address. */
const hostPattern =
  /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?$/i

function isHost(text: string): boolean {
  // All digits and points is an address or a slip.
  return isIpv6(text) || (/^[\d.]+$/.test(text) ? isIpv4(text) : hostPattern.test(text))
}

function hostIn(typed: string, field: string, errors: Errors): string | undefined {
  const text = typed.trim()
  if (text === '') return undefined
  if (!isHost(text)) {
    errors[field] = 'A host name like kw2.example.net, or an IP address like 192.0.2.12'
  }
  return text
}

function folderIn(typed: string, errors: Errors): string | null {
  const text = typed.trim()
  if (text === '') return null
  if (!text.startsWith('/') || text.length < 2) {
    errors.sharedFolder = /^[^/]+:\/|^\\\\/.test(text)
      ? 'Mount it on both servers at the same path, and give that path, like /srv/keepwatch'
      : 'The path at which both servers have mounted it, like /srv/keepwatch'
  }
  return text
}

function connectionIn(fields: Fields, kept: Record<Secret, boolean>, errors: Errors): Connection {
  switch (fields.type) {
    case 'none':
      return { type: 'none' }
    case 'virtual-ip':
      return { type: 'virtual-ip', addresses: addressesIn(fields.addresses, errors) }
    case 'virtual-name':
      return nameIn(fields, kept, errors)
  }
}

function addressesIn(rows: Fields['addresses'], errors: Errors) {
  const addresses: { address: string; prefix: number }[] = []
  for (const [index, row] of rows.entries()) {
    const [address = '', behind] = row.address.trim().split('/', 2)
    if (address === '' && row.prefix.trim() === '') continue
    if (!isIpv4(address) && !isIpv6(address)) {
      errors[`addresses.${index}.address`] =
        'An IPv4 or IPv6 address that nobody has yet, like 192.0.2.10'
    }
    const prefix = prefixOf(behind ?? row.prefix, address)
    if (typeof prefix === 'string') errors[`addresses.${index}.prefix`] = prefix
    else addresses.push({ address, prefix })
  }
  if (addresses.length === 0 && Object.keys(errors).every(key => !key.startsWith('addresses.'))) {
    errors['addresses.0.address'] = 'The address that moves with the active, like 192.0.2.10'
  }
  return addresses
}

function nameIn(fields: Fields, kept: Record<Secret, boolean>, errors: Errors): Connection {
  const name = fields.name.trim()
  if (!hostPattern.test(name) || !name.includes('.')) {
    errors.name = 'A full host name like keepwatch.example.net'
  }
  const zone = fields.zone.trim()
  if (zone !== '' && !hostPattern.test(zone)) errors.zone = 'A zone like example.net, or nothing'
  const bare = (text: string) => text.replace(/\.$/, '').toLowerCase()
  if (zone !== '' && errors.zone === undefined && !`.${bare(name)}`.endsWith(`.${bare(zone)}`)) {
    errors.zone = `${name} does not lie in it`
  }
  const server = fields.server.trim()
  const parts = /^(.*?)(?::(\d{1,5}))?$/.exec(server)
  if (server === '' || !(isIpv6(server) || isHost(parts?.[1]?.replace(/^\[|\]$/g, '') ?? ''))) {
    errors.server = 'The primary name server of the zone, like ns1.example.net or 192.0.2.53:5353'
  }
  const ttl = Number(fields.ttl)
  if (!Number.isInteger(ttl) || ttl < 1 || ttl > 3600) errors.ttl = 'Seconds, from 1 to 3600'
  const tsigName = fields.tsigName.trim()
  const { tsigSecret } = fields.secrets
  if (tsigName === '' && tsigSecret) errors.tsigName = 'The name of the key that this secret is of'
  if (tsigName !== '' && (tsigSecret === null || (tsigSecret === '' && !kept.tsigSecret))) {
    errors['secrets.tsigSecret'] = `The secret of the key ${tsigName}`
  }
  return {
    type: 'virtual-name',
    name,
    ...(zone === '' ? {} : { zone }),
    server,
    ttl,
    ...(tsigName === '' ? {} : { tsig: { name: tsigName, algorithm: fields.tsigAlgorithm } }),
  }
}

const mailPattern = /^[^\s@,;]+@[^\s@,;]+\.[^\s@,;.]{2,}$/

function mailIn(fields: Fields, errors: Errors): Mail | null {
  const recipients = fields.recipients
    .split(',')
    .map(one => one.trim())
    .filter(one => one !== '')
  const from = fields.from.trim()
  const host = fields.host.trim()
  const user = fields.user.trim()
  if (recipients.length === 0 && from === '' && host === '' && user === '') return null
  const wrong = recipients.find(one => !mailPattern.test(one))
  if (wrong !== undefined) {
    errors.recipients = /[;\s]/.test(wrong)
      ? 'Separate the addresses with commas: ann@example.net, ops@example.net'
      : `“${wrong}” is no e-mail address like ops@example.net`
  }
  if (!mailPattern.test(from)) errors.from = 'The sender, like keepwatch@example.net'
  if (!isHost(host)) errors.host = 'The mail server that takes the mail, like mail.example.net'
  const port = Number(fields.port)
  if (!Number.isInteger(port) || port < 1 || port > 65_535) errors.port = 'From 1 to 65535'
  return {
    recipients,
    from,
    host,
    port,
    security: fields.security,
    ...(user === '' ? {} : { user }),
    classes: mailClasses.map(({ value }) => value).filter(value => fields.classes.includes(value)),
  }
}

function webhookIn(typed: string, errors: Errors): string | null {
  const text = typed.trim()
  if (text === '') return null
  if (!/^https?:\/\/./.test(text) || !URL.canParse(text)) {
    errors.webhook = 'A URL like https://chat.example.net/hooks/keepwatch'
  }
  return text
}

const sameNames: Record<string, string> = { 'mail.recipients': 'recipients' }

/**
 * What the server says against the settings, by field; `rest` is what belongs to none of them.
 * Its messages are `settings.mail.from: must be …`, several separated by `; `.
 */
export function errorsIn(message: string): { errors: Errors; rest: string } {
  const errors: Errors = {}
  const rest: string[] = []
  for (const part of message.split(/; (?=[\w.]+: )/)) {
    const [, path, text] = /^(?:body\.)?([\w.]+): (.+)$/s.exec(part) ?? []
    const bare = path
      ?.replace(/^settings\./, '')
      .replace(/^connection\.tsig\.name$/, 'tsigName')
      .replace(/^connection\.tsig\.algorithm$/, 'tsigAlgorithm')
      .replace(/^connection\./, '')
    const field =
      bare === undefined
        ? undefined
        : (sameNames[bare] ??
          bare.replace(/^mail\.recipients\..*$/, 'recipients').replace(/^mail\./, ''))
    if (field !== undefined && text !== undefined && isField(field)) errors[field] = text
    else rest.push(part)
  }
  return { errors, rest: rest.join('; ') }
}

function isField(name: string): boolean {
  const plain = ['secondary', 'sharedFolder', 'name', 'zone', 'server', 'ttl', 'tsigName']
  const more = ['tsigAlgorithm', 'recipients', 'from', 'host', 'port', 'security', 'user']
  return (
    plain.includes(name) ||
    more.includes(name) ||
    ['webhook', 'secrets.smtpPassword', 'secrets.tsigSecret', 'secrets.webhookSecret'].includes(
      name,
    ) ||
    /^addresses\.\d+\.(address|prefix)$/.test(name)
  )
}
