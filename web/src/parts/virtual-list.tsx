// biome-ignore-all lint/a11y/useSemanticElements: rows are positioned, which the elements of a table cannot be
// biome-ignore-all lint/a11y/useFocusableInteractive: rows take the focus, cells and heads need not
import { useVirtualizer } from '@tanstack/react-virtual'
import { type CSSProperties, type ReactNode, useEffect, useRef, useState } from 'react'

export interface VirtualColumn<Row> {
  head: string
  /** A track of CSS grid: `148px`, `minmax(200px, 1fr)`. */
  width: string
  /** The track in narrow windows, if it differs. */
  narrow?: string
  /** Left out in narrow windows. */
  wide?: boolean
  cell: (row: Row) => ReactNode
}

const rowHeight = 26

/**
 * A table of any number of rows of which only those in sight exist in the page. A row opens on
 * click or Enter and shows its detail beneath.
 */
export function VirtualList<Row>({
  rows,
  columns,
  keyOf,
  detail,
  height,
  testId,
  label,
  onNearEnd,
  onTop,
  foot,
}: {
  rows: readonly Row[]
  columns: readonly VirtualColumn<Row>[]
  /** Stays the same for a row when others come before it. */
  keyOf: (row: Row, index: number) => string
  detail: (row: Row) => ReactNode
  height: CSSProperties['height']
  testId: string
  label: string
  /** Called when the last rows come into sight. */
  onNearEnd?: (() => void) | undefined
  /** Called with whether the list is scrolled to its top. */
  onTop?: (atTop: boolean) => void
  foot?: ReactNode
}) {
  const scroller = useRef<HTMLDivElement>(null)
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set())
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => rowHeight,
    getItemKey: index => keyOf(rows[index]!, index),
    overscan: 12,
  })
  const items = virtual.getVirtualItems()
  const last = items.at(-1)?.index ?? 0
  useEffect(() => {
    if (rows.length > 0 && last >= rows.length - 40) onNearEnd?.()
  }, [last, rows.length, onNearEnd])

  function toggle(key: string) {
    setOpen(before => {
      const next = new Set(before)
      if (!next.delete(key)) next.add(key)
      return next
    })
  }

  const style = {
    '--tracks': columns.map(column => column.width).join(' '),
    '--tracks-narrow': columns
      .filter(column => column.wide !== true)
      .map(column => column.narrow ?? column.width)
      .join(' '),
  } as CSSProperties

  return (
    <div className="vlist" style={style}>
      <div
        ref={scroller}
        className="vlist-scroll"
        role="table"
        aria-label={label}
        aria-rowcount={rows.length}
        data-testid={testId}
        style={{ height }}
        onScroll={event => onTop?.(event.currentTarget.scrollTop < rowHeight)}
      >
        <div className="vlist-row vlist-head" role="row">
          {columns.map(column => (
            <div
              key={column.head}
              role="columnheader"
              className={column.wide === true ? 'hide-narrow' : undefined}
            >
              {column.head}
            </div>
          ))}
        </div>
        <div style={{ height: virtual.getTotalSize(), position: 'relative' }}>
          {items.map(item => {
            const row = rows[item.index]!
            const key = String(item.key)
            const opened = open.has(key)
            return (
              <div
                key={key}
                ref={virtual.measureElement}
                data-index={item.index}
                className="vlist-item"
                style={{ transform: `translateY(${item.start}px)` }}
              >
                <div
                  className="vlist-row"
                  role="row"
                  tabIndex={0}
                  aria-expanded={opened}
                  aria-rowindex={item.index + 1}
                  onClick={() => {
                    // Selecting text in a row is no click on it.
                    if (window.getSelection()?.isCollapsed !== false) toggle(key)
                  }}
                  onKeyDown={event => {
                    if (event.key === 'Enter' || event.key === ' ') {
                      event.preventDefault()
                      toggle(key)
                    }
                  }}
                >
                  {columns.map(column => (
                    <div
                      key={column.head}
                      role="cell"
                      className={column.wide === true ? 'ellipsis hide-narrow' : 'ellipsis'}
                    >
                      {column.cell(row)}
                    </div>
                  ))}
                </div>
                {opened && <div className="vlist-detail">{detail(row)}</div>}
              </div>
            )
          })}
        </div>
      </div>
      {foot !== undefined && <div className="vlist-foot dim">{foot}</div>}
    </div>
  )
}
