import { Command } from 'commander'
import { runInForeground } from './foreground.ts'
import { parsePort } from './pair.ts'

/** `keepwatch simulate`: a small network that talks to a collector and can be logged in to. */
export function simulateCommand(): Command {
  return new Command('simulate')
    .description('run a small simulated network')
    .requiredOption('--data <folder>', 'where its host keys and configurations are kept')
    .requiredOption('--token-file <file>', 'file with an API token of the role operator')
    .requiredOption('--server <url...>', 'console addresses of the servers')
    .option('--collector <address>', 'address of the collector', '127.0.0.1')
    .requiredOption('--netflow-port <port>', 'NetFlow port of the collector', parsePort)
    .requiredOption('--ipfix-port <port>', 'IPFIX port of the collector', parsePort)
    .requiredOption('--sflow-port <port>', 'sFlow port of the collector', parsePort)
    .requiredOption('--syslog-udp-port <port>', 'syslog port of the collector', parsePort)
    .requiredOption('--traps-port <port>', 'trap port of the collector', parsePort)
    .action(async options => {
      const { createSimulation } = await import('../apps/simulation/simulation.ts')
      const simulation = createSimulation({
        dataDir: options.data,
        tokenFile: options.tokenFile,
        servers: options.server,
        ports: {
          host: options.collector,
          netflow: options.netflowPort,
          ipfix: options.ipfixPort,
          sflow: options.sflowPort,
          syslog_udp: options.syslogUdpPort,
          traps: options.trapsPort,
        },
      })
      await runInForeground(simulation, () => ({}))
    })
}
