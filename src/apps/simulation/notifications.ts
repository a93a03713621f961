/** Syslog lines and SNMP notifications as devices send them. Source of the encoding: X.690, RFC 3416, RFC 1157. */

const oids = {
  sysUpTime: '1.3.6.1.2.1.1.3.0',
  snmpTrapOID: '1.3.6.1.6.3.1.1.4.1.0',
  linkDown: '1.3.6.1.6.3.1.1.5.3',
  linkUp: '1.3.6.1.6.3.1.1.5.4',
  authenticationFailure: '1.3.6.1.6.3.1.1.5.5',
  ifIndex: '1.3.6.1.2.1.2.2.1.1',
  ifDescr: '1.3.6.1.2.1.2.2.1.2',
  ciscoProducts: '1.3.6.1.4.1.9.1.1208',
} as const

/** SNMPv2c notification about an interface. @param ticks sysUpTime in hundredths of a second */
export function linkTrap(up: boolean, index: number, name: string, ticks: number): Buffer {
  const varbinds = [
    varbind(oids.sysUpTime, integer(0x43, ticks)),
    varbind(oids.snmpTrapOID, oid(up ? oids.linkUp : oids.linkDown)),
    varbind(`${oids.ifIndex}.${index}`, integer(0x02, index)),
    varbind(`${oids.ifDescr}.${index}`, tlv(0x04, Buffer.from(name))),
  ]
  const pdu = tlv(0xa7, integer(2, ticks), integer(2, 0), integer(2, 0), tlv(0x30, ...varbinds))
  return message(1, pdu)
}

/** SNMPv1 trap authenticationFailure (generic 4). */
export function authenticationTrapV1(agent: string, ticks: number): Buffer {
  const pdu = tlv(
    0xa4,
    oid(oids.ciscoProducts),
    tlv(0x40, Buffer.from(agent.split('.').map(Number))),
    integer(2, 4),
    integer(2, 0),
    integer(0x43, ticks),
    tlv(0x30),
  )
  return message(0, pdu)
}

/** RFC 3164 as IOS sends it, with a sequence number. Local7. */
export function iosSyslog(
  severity: number,
  sequence: number,
  host: string,
  now: Date,
  text: string,
): string {
  const day = String(now.getUTCDate()).padStart(2)
  const time = now.toISOString().slice(11, 23)
  const month = now.toLocaleString('en-US', { month: 'short', timeZone: 'UTC' })
  return `<${23 * 8 + severity}>${sequence}: ${host}: ${month} ${day} ${time} UTC: ${text}`
}

/** RFC 5424. */
export function linuxSyslog(
  facility: number,
  severity: number,
  host: string,
  app: string,
  pid: number,
  now: Date,
  text: string,
): string {
  return `<${facility * 8 + severity}>1 ${now.toISOString()} ${host} ${app} ${pid} - - ${text}`
}

function message(version: number, pdu: Buffer): Buffer {
  return tlv(0x30, integer(2, version), tlv(0x04, Buffer.from('public')), pdu)
}

function varbind(name: string, value: Buffer): Buffer {
  return tlv(0x30, oid(name), value)
}

function tlv(tag: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  const length = body.length < 0x80 ? [body.length] : [0x82, body.length >> 8, body.length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...length]), body])
}

function integer(tag: number, value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  do {
    bytes.unshift(rest & 0xff)
    rest = Math.floor(rest / 256)
  } while (rest > 0)
  if (bytes[0]! & 0x80) bytes.unshift(0)
  return tlv(tag, Buffer.from(bytes))
}

function oid(text: string): Buffer {
  const [first, second, ...rest] = text.split('.').map(Number)
  const bytes = [40 * first! + second!]
  for (const arc of rest) {
    const groups = [arc & 0x7f]
    for (let more = Math.floor(arc / 128); more > 0; more = Math.floor(more / 128)) {
      groups.unshift((more & 0x7f) | 0x80)
    }
    bytes.push(...groups)
  }
  return tlv(0x06, Buffer.from(bytes))
}
