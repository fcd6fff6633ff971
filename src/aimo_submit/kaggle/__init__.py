"""Kaggle: `runtime` runs there, `rehearsal` plays it at home, `client` and `upload` talk to it.

The deadlines of a competition's rerun. Each lies inside the one that it is indented under. Behind
them stand the constants with their values, of `runtime/` where no room is named, and in quotes the
fields of the competition's file.

    notebook          the competition's `hours`: 9 h for AIMO-1, 5 h since; beyond, Kaggle kills it
      until serve()   Kaggle's 15 min; mounts.INSTALL_S 480 s, mounts.IMPORT_S 240 s
      run             the hours less WIND_UP_S 300 s, from the start of the process
        loading       predictor.LOAD_S 900 s, LOAD_SHARE 0.4 of the run at most: so long the first
                      problem waits, a later one no longer than its share
        answer        the gateway's `answer_s`: 30 min for AIMO-2, but for the first
          call        Predictor waits so long for the solver, then takes the votes so far:
                      `answer_s` less 2 GRACE_S, CAP 2.5 equal shares at most, and GRACE_S 10 s
            solver    the problem's deadline and solver.GRACE_S 5 s, if the event loop is stuck, too
              problem an equal share and budget.SPEND 0.5 of what was banked, CAP 2.5 shares at
                      most. Shared is the run, less RESERVE_S 120 s (from RESERVE_SHARE 2% to
                      RESERVE_MOST 10% of it) and OVERHEAD_S 2 s a problem
                sampling   solve.BEFORE_SELECTION 0.8 of it, where a selection may follow
                  block    Config.code_timeout_s 5 s, then its processes are killed; its worker is
                           given up sandbox/client/worker.GRACE_S 5 s later
          after it    predictor.PING_S 2 s for the event loop, recorder.WAIT_S 5 s for the disk
        closing       solver.CLOSE_S 30 s for engine and sandbox, twice

A rehearsal divides hours, `answer_s`, WIND_UP_S (down to 15 s) and the 15 minutes until serve()
(down to 120 s) by its speed, with a competition's own package too, and nothing else. At the
notebook's limit its player ends all that it started.
"""
