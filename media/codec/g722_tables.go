package codec

// Tables of ITU-T G.722. The names are the Recommendation's; entry 0 is not used where it counts from 1.
var (
	// q6 holds the decision levels of the 60-level low band quantizer (table 14), as parts of the scale factor.
	q6 = [...]int32{
		0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714,
		786, 858, 940, 1023, 1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
	}
	// iln and ilp are the codes for negative and positive intervals (table 17).
	iln = [...]byte{
		0, 63, 62, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19,
		18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4,
	}
	ilp = [...]byte{
		0, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47,
		46, 45, 44, 43, 42, 41, 40, 39, 38, 37, 36, 35, 34, 33, 32,
	}
	// qm6 and qm4 are the output values of the 60-level and the 15-level inverse quantizer of the low band, qm2 those
	// of the high band (tables 18, 20, 21).
	qm6 = [...]int32{
		-136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360, -8576, -7856,
		-7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688, -1360, -1040, -728,
		24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456,
		4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
	}
	qm4 = [...]int32{
		0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0,
	}
	qm2 = [...]int32{-7408, -1616, 7408, 1616}
	// wl and wh are the logarithmic scale factor multipliers of the low band, by the four upper bits of its code, and
	// of the high band, by its code (tables 15, 22).
	wl = [...]int32{
		-60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60,
	}
	wh = [...]int32{798, -214, 798, -214}
	// ilb is the antilogarithm of the scale factor (table 13).
	ilb = [...]int32{
		2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
		2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
	}
	// qmf holds every second coefficient of the symmetric 24-tap quadrature mirror filter, times 8192 (table 11); the
	// other twelve are the same backwards.
	qmf = [...]int32{3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11}
)
