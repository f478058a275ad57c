package bitrix24

import (
	"context"
	"sync"

	"sverka/internal/portal"
)

// target is how many seconds of the portal's work a batch that writes should be. The portal stops a request after 60 s, and a batch that is
// stopped has an unknown outcome for each of its commands.
const target = 10.0

// pace says how many commands a batch should hold, by the time that the last ones took. The zero value knows nothing yet.
type pace struct {
	mu      sync.Mutex
	command float64 // seconds that one command takes, smoothed
	most    int     // fewer after a batch that never got its answer; 0: maxCommands
}

// took takes in how long a batch of n commands worked, by the portal's own clock.
func (p *pace) took(n int, seconds float64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	most := p.most
	if most == 0 {
		most = maxCommands
	}
	switch {
	case portal.ClassOf(err) == portal.Unknown:
		p.most = max(2, min(most, n)/2)
	case err != nil || n == 0 || seconds <= 0:
	default:
		// A slower portal is believed at once, a faster one bit by bit.
		each := seconds / float64(n)
		p.command = max(each, 0.7*p.command+0.3*each)
		p.most = min(maxCommands, most+2)
	}
}

// commands gives how many commands the next batch should hold.
func (p *pace) commands() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := maxCommands
	if p.command > 0 {
		n = int(min(float64(maxCommands), target/p.command))
	}
	if p.most > 0 {
		n = min(n, p.most)
	}
	return max(2, n)
}

// BatchCalls tells how many calls RegisterFinish should be given now, 1 to MaxCalls: as many as the portal works through in some 10 s, by the
// time that the last batches took. After a batch without an answer it is half as many, and more again with each that succeeds.
func (c *Client) BatchCalls() int { return min(MaxCalls, c.batches.commands()/2) }

// LearnLimits asks the portal for its plan, and uses the limits of an Enterprise portal where it has them and the configuration names none of
// its own. Only an app is told.
func (c *Client) LearnLimits(ctx context.Context) error {
	if c.access.app == nil || !c.usual {
		return nil
	}
	if _, _, err := c.access.enter(ctx, methodApp); err != nil || !c.access.throughApp() {
		return err
	}
	info, err := c.AppInfo(ctx)
	if err != nil {
		return err
	}
	if info.Enterprise() {
		c.bucket.Resize(enterpriseBurst, enterpriseRate)
	}
	return nil
}
