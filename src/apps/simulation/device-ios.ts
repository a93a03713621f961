import type { Clock } from '../../lib/clock.ts'
import {
  createConfiguration,
  type DeviceConfiguration,
  type Editor,
} from './device-configuration.ts'

/** A device with an IOS-like command line: enable, pager, configuration mode. */
export interface IosDevice {
  /** The configuration without the header that `show running-config` puts before it. */
  stored(): string
  hostname(): string
  /** Somebody logged in. */
  open(session: IosTerminal): { input(text: string): void; resize(rows: number): void }
  /** What a person would type after `configure terminal`. @returns the line that was refused */
  configure(user: string, lines: readonly string[]): string | undefined
}

interface IosTerminal {
  user: string
  rows: number
  write(text: string): void
  close(): void
  /** The user left the configuration mode. */
  configured(): void
}

const invalid = "                ^\n% Invalid input detected at '^' marker.\n"
const longestLine = 4096

export function createIosDevice(
  deps: { clock: Clock },
  config: { text: string; enablePassword: string },
): IosDevice {
  const configuration: DeviceConfiguration = createConfiguration(config.text.trimEnd(), ['!'])
  let changed: { at: number; by: string } | undefined
  const startedAt = deps.clock.wall()

  function running(): string {
    const body = configuration.text()
    const header = changed
      ? `Last configuration change at ${iosTime(changed.at)} by ${changed.by}`
      : 'No configuration change since last restart'
    return `Building configuration...\n\nCurrent configuration : ${body.length} bytes\n!\n! ${header}\n!\n${body}\nend\n\n`
  }

  function version(): string {
    const minutes = Math.floor((deps.clock.wall() - startedAt) / 60_000)
    return `Cisco IOS Software [Cupertino], Virtual Switch Software (VIRT-UNIVERSALK9), Version 17.9.4a, RELEASE SOFTWARE (fc3)
Technical Support: simulated by Keepwatch

${configuration.hostname()} uptime is ${Math.floor(minutes / 60)} hours, ${minutes % 60} minutes
System returned to ROM by Reload Command
System image file is "flash:virt-universalk9.17.09.04a.SPA.bin"

cisco VIRT-24T (ARM64) processor with 519464K/3071K bytes of memory.
Processor board ID KW24SIM0001
24 Gigabit Ethernet interfaces
Configuration register is 0x102
`
  }

  function open(terminal: IosTerminal) {
    let privileged = false
    let rows = terminal.rows
    let editor: Editor | undefined
    let line = ''
    /** Lines still to be shown, while the pager waits for a key. */
    let paged: string[] | undefined
    let askedPassword = false

    const write = (text: string) => terminal.write(text.replaceAll('\n', '\r\n'))
    const prompt = () => {
      const name = configuration.hostname()
      if (editor) write(`${name.slice(0, 20)}(${editor.mode()})#`)
      else write(name + (privileged ? '#' : '>'))
    }

    function show(text: string) {
      paged = text.split('\n')
      nextPage()
    }

    function nextPage() {
      const page = paged ?? []
      const count = rows > 1 ? rows - 1 : page.length
      write(page.splice(0, count).join('\n'))
      if (page.length === 0) {
        paged = undefined
        prompt()
      } else write('\n --More-- ')
    }

    function onKey(key: string) {
      write('\b'.repeat(10) + ' '.repeat(10) + '\b'.repeat(10))
      if (key === 'q') paged = ['']
      nextPage()
    }

    function onLine(command: string) {
      if (askedPassword) {
        askedPassword = false
        privileged = command === config.enablePassword
        if (!privileged) write('% Access denied\n')
        return prompt()
      }
      if (editor) return onConfigurationLine(editor, command)
      const text = command.trim().replace(/\s+/g, ' ')
      const length = /^terminal length (\d{1,3})$/.exec(text)
      if (length) rows = Number(length[1])
      else if (text === '' || /^terminal (?:width \d{1,3}|no monitor)$/.test(text)) {
        // Nothing of it can be seen here.
      } else if (text === 'exit' || text === 'logout') return terminal.close()
      else if (text === 'enable' && !privileged) {
        askedPassword = true
        return write('Password: ')
      } else if (text === 'disable') privileged = false
      else if (text === 'show version') return show(version())
      else if (text === 'show clock') write(`${iosTime(deps.clock.wall())}\n`)
      else if (privileged && text === 'show running-config') return show(running())
      else if (privileged && /^conf(?:igure)? t(?:erminal)?$/.test(text)) {
        write('Enter configuration commands, one per line.  End with CNTL/Z.\n')
        editor = configuration.edit()
      } else if (
        privileged &&
        /^(?:write(?: memory)?|copy running-config startup-config)$/.test(text)
      )
        write('Building configuration...\n[OK]\n')
      else write(invalid)
      prompt()
    }

    function onConfigurationLine(into: Editor, command: string) {
      const outcome = into.enter(command)
      if (outcome === 'invalid') write(invalid)
      if (outcome === 'end') {
        editor = undefined
        changed = { at: deps.clock.wall(), by: terminal.user }
        terminal.configured()
      }
      prompt()
    }

    write('\n')
    prompt()
    return {
      resize(to: number) {
        rows = to
      },
      input(text: string) {
        for (const char of text) {
          if (paged) onKey(char)
          else if (char === '\r' || char === '\n') {
            const command = line
            line = ''
            write('\n')
            onLine(command)
          } else if (char === '\x1a' && editor) onLine('end')
          else if (char === '\x7f' || char === '\b') line = line.slice(0, -1)
          else if (line.length < longestLine) {
            line += char
            if (!askedPassword) write(char)
          }
        }
      },
    }
  }

  return {
    stored: () => configuration.text(),
    hostname: () => configuration.hostname(),
    open,
    configure(user, lines) {
      const editor = configuration.edit()
      const refused = lines.find(line => editor.enter(line) === 'invalid')
      changed = { at: deps.clock.wall(), by: user }
      return refused
    },
  }
}

const days = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']
const months = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ')

/** `11:54:34 UTC Thu Aug 29 2024` */
function iosTime(wall: number): string {
  const time = new Date(wall)
  const clock = time.toISOString().slice(11, 19)
  return `${clock} UTC ${days[time.getUTCDay()]} ${months[time.getUTCMonth()]} ${time.getUTCDate()} ${time.getUTCFullYear()}`
}
