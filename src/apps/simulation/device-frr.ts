import { createConfiguration } from './device-configuration.ts'

/** A Linux host that runs FRRouting: every command is a program of its own. */
export interface FrrDevice {
  stored(): string
  /** Runs a command line of the shell. */
  execute(command: string): { output: string; errors: string; status: number; configured: boolean }
  /** What a person would type after `configure terminal`. @returns the line that was refused */
  configure(user: string, lines: readonly string[]): string | undefined
}

export function createFrrDevice(config: { text: string }): FrrDevice {
  const configuration = createConfiguration(config.text.trimEnd(), ['exit', '!'])

  const running = () =>
    `Building configuration...\n\nCurrent configuration:\n${configuration.text()}\nend\n`

  function execute(command: string) {
    const words = wordsOf(command)
    switch (words[0]) {
      case 'hostname':
        return answer(`${configuration.hostname()}\n`)
      case 'uname':
        return answer(`Linux ${configuration.hostname()} 6.1.0-26-amd64 x86_64 GNU/Linux\n`)
      case 'cat':
        return cat(words.slice(1).filter(word => !word.startsWith('-')))
      case 'vtysh':
        return vtysh(words.flatMap((word, i) => (words[i - 1] === '-c' ? [word] : [])))
      default:
        return answer('', `sh: 1: ${words[0] ?? ''}: not found\n`, 127)
    }
  }

  function cat(files: string[]) {
    const missing = files.find(file => file !== '/etc/frr/frr.conf' && file !== '/etc/hostname')
    if (missing !== undefined) return answer('', `cat: ${missing}: No such file or directory\n`, 1)
    const content = (file: string) =>
      file === '/etc/hostname' ? configuration.hostname() : configuration.text()
    return answer(files.map(file => `${content(file)}\n`).join(''))
  }

  function vtysh(commands: string[]) {
    if (
      commands.length === 1 &&
      /^(?:do )?(?:show running-config|write terminal)$/.test(commands[0]!)
    ) {
      return answer(running())
    }
    if (commands[0] !== 'configure terminal') {
      return answer(`% Unknown command: ${commands[0] ?? ''}\n`, '', 1)
    }
    const refused = configure('', commands.slice(1))
    if (refused !== undefined) return answer(`% Unknown command: ${refused}\n`, '', 1)
    return { ...answer(''), configured: true }
  }

  function configure(_user: string, lines: readonly string[]): string | undefined {
    const editor = configuration.edit()
    return lines.find(line => editor.enter(line) === 'invalid')
  }

  return { stored: () => configuration.text(), execute, configure }
}

function answer(output: string, errors = '', status = 0) {
  return { output, errors, status, configured: false }
}

/** A command line split as a shell would: quotes hold words together. */
function wordsOf(command: string): string[] {
  return [...command.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(
    ([, single, double, plain]) => single ?? double ?? plain ?? '',
  )
}
