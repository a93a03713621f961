/**
 * The configuration of a simulated device: blocks of lines, of which those that stand further in
 * belong to the one above, edited with the commands of a configuration mode.
 */
export interface DeviceConfiguration {
  text(): string
  hostname(): string
  /** A new configuration mode, at its top. */
  edit(): Editor
}

export interface Editor {
  /** What the device makes of a line. `invalid`: refused, nothing changed. */
  enter(line: string): 'done' | 'end' | 'invalid'
  /** What stands in the prompt: `config`, `config-if`. */
  mode(): string
}

interface Block {
  line: string
  children: Block[]
}

/** Commands that open a block at the top, with the name of its mode. */
const modes: Record<string, string> = {
  interface: 'if',
  router: 'router',
  line: 'line',
  vrf: 'vrf',
  'route-map': 'route-map',
  'class-map': 'cmap',
  'policy-map': 'pmap',
  vlan: 'vlan',
}

/** Settings that a block has once: a new value replaces the old one. */
const single =
  /^(?:hostname|description|enable secret|service-policy (?:input|output)|ip address(?! .*secondary)|switchport access vlan|switchport mode|bandwidth|mtu|ip domain name|clock timezone|exec-timeout|log \S+)\b/

const known =
  /^(?:aaa|access-list|address-family|archive|arp|bandwidth|banner|bgp|clock|crypto|description|enable|encapsulation|exec-timeout|exit-address-family|hostname|ip|ipv6|lldp|log|logging|login|match|mtu|neighbor|name|network|no|ntp|passive-interface|password|privilege|redistribute|route-map|router-id|service|service-policy|set|shutdown|snmp-server|spanning-tree|speed|standby|switchport|tacacs-server|transport|username|version)\b/

/** Commands that leave the block they are typed in. */
const global =
  /^(?:no )?(?:aaa|clock|enable|hostname|ip (?:domain|route|prefix-list)|ipv6 route|log|logging|ntp|service|snmp-server|spanning-tree mode|tacacs-server|username)\b/

/** @param closing what follows a new block: `!`, or `exit` and `!` */
export function createConfiguration(text: string, closing: readonly string[]): DeviceConfiguration {
  const root: Block = parse(text)

  function enter(path: Block[], line: string): 'done' | 'end' | 'invalid' {
    const command = line.trim()
    const word = command.split(' ', 1)[0]!
    if (command === '' || command.startsWith('!')) return 'done'
    if (command === 'end') return 'end'
    if (command === 'exit') return path.pop() ? 'done' : 'end'
    if (word in modes && command.includes(' ')) {
      path.splice(0, path.length, openBlock(command))
      return 'done'
    }
    if (!known.test(command)) return 'invalid'
    if (global.test(command)) path.length = 0
    const block = path.at(-1) ?? root
    if (word === 'no') return remove(block, command.slice(3)) ? 'done' : 'invalid'
    set(block, command)
    return 'done'
  }

  function openBlock(line: string): Block {
    const found = root.children.find(block => block.line === line)
    if (found) return found
    const block = { line, children: [] }
    insert(root, block, closing)
    return block
  }

  function set(block: Block, line: string) {
    const key = single.exec(line)?.[0]
    const same = (child: Block) =>
      child.line === line || (key !== undefined && child.line.startsWith(key))
    const index = block.children.findIndex(same)
    if (index >= 0) block.children[index]!.line = line
    else if (block === root) insert(root, { line, children: [] }, [])
    else block.children.push({ line, children: [] })
  }

  function remove(block: Block, line: string): boolean {
    const index = block.children.findIndex(
      child => child.line === line || child.line.startsWith(`${line} `),
    )
    if (index < 0) return false
    block.children.splice(index, 1)
    return true
  }

  return {
    text: () => root.children.flatMap(block => linesOf(block, 0)).join('\n'),
    hostname: () =>
      root.children.find(block => block.line.startsWith('hostname '))?.line.slice(9) ?? 'device',
    edit() {
      const path: Block[] = []
      return {
        enter: line => enter(path, line),
        mode() {
          const word = path.at(-1)?.line.split(' ', 1)[0]
          return word === undefined ? 'config' : `config-${modes[word]}`
        },
      }
    },
  }
}

function parse(text: string): Block {
  const root: Block = { line: '', children: [] }
  const open = [root]
  for (const line of text.split('\n')) {
    const depth = Math.min(line.length - line.trimStart().length, open.length - 1)
    const block = { line: line.trimStart(), children: [] }
    open.length = depth + 1
    open[depth]!.children.push(block)
    open.push(block)
  }
  return root
}

function linesOf(block: Block, depth: number): string[] {
  const line = ' '.repeat(depth) + block.line
  return [line, ...block.children.flatMap(child => linesOf(child, depth + 1))]
}

/** After the last of its kind, or at the end. */
function insert(root: Block, block: Block, closing: readonly string[]) {
  const word = block.line.split(' ', 1)[0]!
  const last = root.children.findLastIndex(({ line }) => line.split(' ', 1)[0] === word)
  let at = last < 0 ? root.children.length : last + 1
  if (last >= 0) for (const line of closing) if (root.children[at]?.line === line) at++
  const after = closing.map(line => ({ line, children: [] }))
  root.children.splice(at, 0, block, ...after)
}
