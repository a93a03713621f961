/** Options of a command → the settings of the pair. */
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import type { z } from 'zod'
import { type PairSettings, pairSecrets, pairSettings } from '../api/contract/setup.ts'

export interface SettingOptions {
  secondary?: string
  folder?: string
  mail?: string
  smtp?: string
  smtpFrom?: string
  smtpSecurity?: string
  smtpUser?: string
  smtpPasswordFile?: string
  webhook?: string
  webhookSecretFile?: string
  virtualIp?: string
  virtualName?: string
  dnsServer?: string
  dnsZone?: string
  dnsTtl?: string
  tsigKeyFile?: string
  none?: boolean
}

export type PairSecretChange = z.input<typeof pairSecrets>

export function withSettings(command: Command): Command {
  return command
    .option('--secondary <host>', 'name or address of the second machine')
    .option(
      '--folder <path>',
      'where both machines have mounted the shared folder; `none` for none',
    )
    .option('--mail <addresses>', 'recipients, separated by commas; `none` for none')
    .option('--smtp <host>', 'mail server, with `:port` if it is not 25')
    .option('--smtp-from <address>', 'sender of the mails')
    .option('--smtp-security <kind>', 'none, opportunistic, starttls or tls')
    .option('--smtp-user <name>', 'user at the mail server; `none` for none')
    .option('--smtp-password-file <file>', 'file with the password of that user')
    .option('--webhook <url>', 'told the same as the recipients; `none` for none')
    .option('--webhook-secret-file <file>', 'file with the secret that signs it')
    .option(
      '--virtual-ip <address/prefix>',
      'virtual addresses, separated by commas: 192.0.2.10/24',
    )
    .option('--virtual-name <name>', 'a name in DNS that follows the active server')
    .option('--dns-server <host>', 'with a virtual name: the primary name server')
    .option('--dns-zone <zone>', 'with a virtual name: its zone; by default found out')
    .option('--dns-ttl <seconds>', 'with a virtual name: how long others may remember it')
    .option('--tsig-key-file <file>', 'with a virtual name: key file as BIND has it')
    .option('--none', 'neither: the standby sends people and programs to the active one')
}

/**
 * The settings with what the options say; what they do not name stays.
 *
 * @throws Error that names the option and says what would be right
 */
export function changed(
  before: PairSettings,
  options: SettingOptions,
): { settings: PairSettings; secrets: PairSecretChange } {
  const secrets: PairSecretChange = {}
  const mail = mailOf(before, options)
  const { secondary = before.secondary } = options
  const settings = pairSettings.safeParse({
    secondary,
    sharedFolder: given(options.folder, before.sharedFolder),
    connection: connectionOf(before.connection, options, secrets),
    mail,
    webhook: given(options.webhook, before.webhook),
  })
  if (!settings.success) {
    throw new Error(
      settings.error.issues.map(({ path, message }) => `${optionOf(path)}: ${message}`).join('\n'),
    )
  }
  if (options.smtpPasswordFile !== undefined)
    secrets.smtpPassword = lineIn(options.smtpPasswordFile)
  else if (options.smtpUser === 'none') secrets.smtpPassword = null
  if (options.webhookSecretFile !== undefined) {
    secrets.webhookSecret = lineIn(options.webhookSecretFile)
  }
  return { settings: settings.data, secrets: pairSecrets.parse(secrets) }
}

/** `none` removes; what is not named stays. */
function given(option: string | undefined, before: string | null): string | null {
  return option === undefined ? before : option === 'none' ? null : option
}

function mailOf({ mail: before }: PairSettings, options: SettingOptions) {
  const { mail, smtp, smtpFrom, smtpSecurity, smtpUser, smtpPasswordFile } = options
  const named = [mail, smtp, smtpFrom, smtpSecurity, smtpUser, smtpPasswordFile]
  if (named.every(option => option === undefined)) return before
  if (mail === 'none') return null
  const recipients =
    mail?.split(',').flatMap(address => address.trim() || []) ?? before?.recipients ?? []
  if (!before && smtp === undefined) {
    throw new Error('--smtp: is missing; name the mail server, with `:port` if it is not 25')
  }
  const from = smtpFrom ?? before?.from ?? senderFor(recipients)
  if (from === undefined) throw new Error('--mail: is missing; name at least one recipient')
  const user = smtpUser === undefined ? before?.user : smtpUser === 'none' ? undefined : smtpUser
  return {
    ...before,
    recipients,
    from,
    ...(smtp === undefined ? {} : hostAndPort(smtp)),
    ...(smtpSecurity === undefined ? {} : { security: smtpSecurity }),
    user,
  }
}

function senderFor([first]: readonly string[]): string | undefined {
  // A recipient without a domain is refused for itself.
  return first && `keepwatch@${first.split('@')[1] ?? 'localhost.localdomain'}`
}

function hostAndPort(text: string): { host: string; port?: number } {
  const parts = /^(\[[^\]]+\]|[^:]+)(?::(\d+))?$/.exec(text)
  if (!parts)
    throw new Error(`--smtp ${text}: must look like mail.example.net or mail.example.net:587`)
  const host = parts[1]!.replace(/^\[(.*)\]$/, '$1')
  return parts[2] === undefined ? { host } : { host, port: Number(parts[2]) }
}

function connectionOf(
  before: PairSettings['connection'],
  options: SettingOptions,
  secrets: PairSecretChange,
): unknown {
  const { virtualIp, virtualName, none } = options
  const kinds = [virtualIp, virtualName, none].filter(kind => kind !== undefined)
  if (kinds.length > 1) {
    throw new Error('--virtual-ip, --virtual-name and --none: choose one of them')
  }
  if (none) return { type: 'none' }
  if (virtualIp !== undefined) {
    return { type: 'virtual-ip', addresses: virtualIp.split(',').map(addressAndPrefix) }
  }
  const { dnsServer, dnsZone, dnsTtl, tsigKeyFile } = options
  const ofName = [virtualName, dnsServer, dnsZone, dnsTtl, tsigKeyFile]
  if (ofName.every(option => option === undefined)) return before
  const known = before.type === 'virtual-name' ? before : undefined
  if (known === undefined && virtualName === undefined) {
    throw new Error('--virtual-name: is missing; the other options of a virtual name need it')
  }
  if (known === undefined && dnsServer === undefined) {
    throw new Error('--dns-server: is missing; name the primary name server of the zone')
  }
  const key = tsigKeyFile === undefined ? undefined : tsigKeyIn(tsigKeyFile)
  if (key) secrets.tsigSecret = key.secret
  return {
    ...known,
    type: 'virtual-name',
    ...(virtualName === undefined ? {} : { name: virtualName }),
    ...(dnsServer === undefined ? {} : { server: dnsServer }),
    ...(dnsZone === undefined ? {} : { zone: dnsZone }),
    ...(dnsTtl === undefined ? {} : { ttl: Number(dnsTtl) }),
    ...(key ? { tsig: { name: key.name, algorithm: key.algorithm } } : {}),
  }
}

function addressAndPrefix(text: string) {
  const parts = /^\s*([0-9a-f.:]+)\/(\d{1,3})\s*$/i.exec(text)
  if (!parts) {
    throw new Error(`--virtual-ip ${text}: must look like 192.0.2.10/24 or 2001:db8::10/64`)
  }
  return { address: parts[1]!, prefix: Number(parts[2]) }
}

/** `key "name" { algorithm hmac-sha256; secret "…"; };`, as `tsig-keygen` writes it. */
function tsigKeyIn(file: string): { name: string; algorithm: string; secret: string } {
  const text = readFileSync(file, 'utf8')
  const name = /\bkey\s+"?([\w.-]+)"?/.exec(text)?.[1]
  const algorithm = /\balgorithm\s+"?([\w-]+)"?\s*;/.exec(text)?.[1]
  const secret = /\bsecret\s+"?([A-Za-z0-9+/=]+)"?\s*;/.exec(text)?.[1]
  if (!name || !algorithm || !secret) {
    throw new Error(
      `--tsig-key-file ${file}: must hold key "name" { algorithm hmac-sha256; secret "…"; }; as tsig-keygen writes it`,
    )
  }
  return { name, algorithm, secret }
}

function lineIn(file: string): string {
  return readFileSync(file, 'utf8').replace(/\r?\n$/, '')
}

const options: Record<string, string> = {
  secondary: '--secondary',
  sharedFolder: '--folder',
  'mail.recipients': '--mail',
  'mail.from': '--smtp-from',
  'mail.host': '--smtp',
  'mail.port': '--smtp',
  'mail.security': '--smtp-security',
  'mail.user': '--smtp-user',
  webhook: '--webhook',
  'connection.addresses': '--virtual-ip',
  'connection.name': '--virtual-name',
  'connection.server': '--dns-server',
  'connection.zone': '--dns-zone',
  'connection.ttl': '--dns-ttl',
  'connection.tsig': '--tsig-key-file',
}

/** The option that a setting was made of; the name of the setting where there is none. */
function optionOf(path: readonly PropertyKey[]): string {
  const name = path.map(String)
  return options[name.slice(0, 2).join('.')] ?? options[name[0]!] ?? name.join('.')
}

/** What is set, for people. */
export function describeSettings({
  secondary,
  sharedFolder,
  connection,
  mail,
  webhook,
}: PairSettings) {
  const connections = {
    none: () => 'none: the standby sends people and programs to the active one',
    'virtual-ip': (of: typeof connection & { type: 'virtual-ip' }) =>
      `virtual IP ${of.addresses.map(({ address, prefix }) => `${address}/${prefix}`).join(', ')}`,
    'virtual-name': (of: typeof connection & { type: 'virtual-name' }) =>
      `virtual host name ${of.name} at the name server ${of.server}`,
  }
  const how = connections[connection.type] as (of: typeof connection) => string
  return [
    `  Secondary      ${secondary ?? 'none'}`,
    `  Connection     ${how(connection)}`,
    `  Shared folder  ${sharedFolder ?? 'none'}`,
    `  Mail           ${mail ? `to ${mail.recipients.join(', ')} by ${mail.host}:${mail.port}` : 'none'}`,
    `  Webhook        ${webhook ?? 'none'}`,
  ].join('\n')
}
