import type { ReactNode } from 'react'

export function Panel({
  title,
  note,
  actions,
  flush,
  className,
  testId,
  children,
}: {
  title?: string
  /** Small text beside the title. */
  note?: ReactNode
  actions?: ReactNode
  /** No padding: for tables. */
  flush?: boolean
  className?: string
  testId?: string
  children: ReactNode
}) {
  return (
    <section
      className={`panel${className === undefined ? '' : ` ${className}`}`}
      aria-label={title}
      data-testid={testId}
    >
      {title !== undefined && (
        <div className="panel-head">
          <h2>
            {title}
            {note !== undefined && <small>{note}</small>}
          </h2>
          {actions !== undefined && <div className="row">{actions}</div>}
        </div>
      )}
      <div className={flush === true ? 'panel-body flush' : 'panel-body'}>{children}</div>
    </section>
  )
}

export type Tone = 'ok' | 'warn' | 'bad' | 'accent' | 'plain'

export function Tag({
  tone = 'plain',
  testId,
  children,
}: {
  tone?: Tone
  testId?: string
  children: ReactNode
}) {
  return (
    <span className={tone === 'plain' ? 'tag' : `tag ${tone}`} data-testid={testId}>
      {children}
    </span>
  )
}

/** One number that matters, with its name and a line beneath. */
export function Figure({
  label,
  value,
  foot,
  tone,
  children,
}: {
  label: string
  value: ReactNode
  foot?: ReactNode
  tone?: 'ok' | 'warn' | 'bad' | undefined
  children?: ReactNode
}) {
  return (
    <section className="panel" aria-label={label}>
      <div className="figure">
        <span className="figure-label">{label}</span>
        <span className={tone === undefined ? 'figure-value' : `figure-value ${tone}`}>
          {value}
        </span>
        {foot !== undefined && <span className="figure-foot">{foot}</span>}
        {children}
      </div>
    </section>
  )
}

/** How much of the whole a row is, drawn. */
export function ShareBar({ part, whole }: { part: number; whole: number }) {
  const width = whole > 0 ? Math.min(100, (100 * part) / whole) : 0
  return (
    <span className="sharebar" aria-hidden="true">
      <span style={{ width: `${width}%` }} />
    </span>
  )
}
