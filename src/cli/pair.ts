import { Command, InvalidArgumentError } from 'commander'
import type { PairSummary } from '../apps/pair/pair.ts'
import { defaultPorts, type PortName, type Ports } from '../apps/pair/ports.ts'
import { runInForeground } from './foreground.ts'

/** `keepwatch pair`, which is what `npm start` runs. */
export function pairCommand(): Command {
  const command = new Command('pair')
    .description('run a whole deployment on this machine: a pair, a collector, a simulated network')
    .option('--data <folder>', 'where everything is kept', 'data')
    .option('--no-simulation', 'without the simulated network')
    .option('--json', 'for programs: one line of JSON on standard output when ready', false)
  for (const name of Object.keys(defaultPorts) as PortName[]) {
    const { port, transport, what } = defaultPorts[name]
    command.option(
      `--${flagOf(name)} <port>`,
      `${what} (${transport}; 0: any free port; default ${port})`,
      parsePort,
    )
  }
  return command.action(async options => {
    const say = (line: string) => process.stderr.write(`${line}\n`)
    const ports: Partial<Ports> = {}
    for (const name of Object.keys(defaultPorts) as PortName[]) {
      const port = options[camelOf(flagOf(name))]
      if (port !== undefined) ports[name] = port
    }
    const { createPair } = await import('../apps/pair/pair.ts')
    const pair = createPair({ say }, { ...options, ports })
    await runInForeground(pair, () => {
      const summary = pair.summary()
      process.stdout.write(options.json ? `${JSON.stringify(summary)}\n` : describe(summary))
      return {}
    })
  })
}

function describe({ console, servers, collector, admin, token }: PairSummary): string {
  const { ports } = collector
  const logIn = admin.password
    ? `user ${admin.user}, password ${admin.password} (to be changed at the first log-in)`
    : `user ${admin.user}, with the password you chose`
  return `
  Keepwatch is running.

  Console    ${console}
  Log in     ${logIn}
  Standby    ${servers[1]?.url}
  API        ${console}/api/v1/openapi.json   (token ${token})

  Send to this machine: NetFlow ${ports.netflow}, IPFIX ${ports.ipfix}, sFlow ${ports.sflow}, syslog ${ports.syslog_udp} (UDP) ${ports.syslog_tcp} (TCP), traps ${ports.traps}

  Try:       kill -9 ${servers[0]?.pid}   (the active server; the console follows)
  Ctrl-C stops everything.
`
}

export function parsePort(text: string): number {
  const port = Number(text)
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return port
  throw new InvalidArgumentError('a port is a whole number from 0 to 65535')
}

function flagOf(name: string): string {
  return `${name.replaceAll('_', '-')}-port`
}

function camelOf(flag: string): string {
  return flag.replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase())
}
